//! What the files of a node say, for people: at the start, and where a configuration is checked.

use std::time::SystemTime;

use prost_types::Timestamp;
use route_access::Certificate;

use super::Access;

impl Access {
    /// A line for each file, and one for what is allowed without any.
    pub fn summary(&self) -> Vec<String> {
        let lines = [self.of_tls(), self.of_policy(), self.of_tokens()];
        lines.into_iter().flatten().collect()
    }

    fn of_tls(&self) -> Option<String> {
        let tls = self.tls()?;
        Some(match Certificate::read(tls.certificate()) {
            Ok(certificate) => {
                let names = [certificate.uris, certificate.dns].concat().join(", ");
                let until = shown(certificate.not_after);
                let clients = match tls.asks_clients() {
                    true => "clients may show certificates",
                    false => "clients are not asked for certificates",
                };
                format!("--tls-cert: {names}, until {until}; {clients}")
            }
            Err(error) => format!("--tls-cert: {error}"),
        })
    }

    fn of_policy(&self) -> Option<String> {
        let entries = self.policy.as_ref().map(|it| it.borrow().entry_count());
        let told = match (entries, self.insecure) {
            (Some(0), _) => "--policy: no entry, so nobody may do anything".to_owned(),
            (Some(entries), _) => format!("--policy: {entries} entries"),
            (None, true) => "--insecure: everybody may read, listen, publish and attach".to_owned(),
            (None, false) => "no policy: everything is allowed, to this host alone".to_owned(),
        };
        Some(told)
    }

    fn of_tokens(&self) -> Option<String> {
        let keys = self.keys.as_ref()?.borrow();
        let skipped = keys.skipped().iter();
        let skipped: Vec<_> = skipped
            .map(|it| format!("; {} is not used: {}", it.key, it.why))
            .collect();
        let without_tls = match self.tls {
            Some(_) => "",
            None => "; without --tls-cert, tokens are refused at ports that other hosts can reach",
        };
        let (count, skipped) = (keys.count(), skipped.concat());
        Some(format!("--token-keys: {count} keys{skipped}{without_tls}"))
    }
}

fn shown(time: SystemTime) -> String {
    Timestamp::from(time).to_string()
}
