//! Who would get something: for those who ask before they send, or afterwards why.

use crate::core::{LinkError, Transaction};
use crate::ids::LinkId;
use crate::routing::{Audience, Recipients, Target};

impl Transaction<'_> {
    /// Who would get what a service publishes to this audience.
    pub fn targets(&mut self, audience: Audience<'_>) -> Vec<Target> {
        self.routing().targets(audience)
    }

    /// Who would get what a link, or else the node, sends to this audience, and who not; if a name is
    /// given, of this MsgServer only.
    ///
    /// # Errors
    ///
    /// [`LinkError::Unknown`] if the link is not open.
    pub fn recipients(
        &mut self,
        origin: Option<LinkId>,
        audience: Audience<'_>,
        msg_server: Option<&str>,
    ) -> Result<Recipients, LinkError> {
        let skipped = match origin {
            None => [None; 2],
            Some(id) => {
                let slot = self.slot(id);
                let slot = slot.ok_or(LinkError::Unknown(id))?;
                [Some(slot), self.stand_in(slot)]
            }
        };
        Ok(self.routing().recipients(skipped, audience, msg_server))
    }
}
