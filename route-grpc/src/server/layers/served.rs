//! Which services and methods a port has, as reflection tells them.

use std::collections::BTreeMap;
use std::sync::Arc;

use prost::Message;
use prost_types::FileDescriptorSet;

use crate::refusal::Refusal;

/// A port's.
#[derive(Debug, Clone)]
pub(in crate::server) struct Served {
    /// Methods by service.
    described: Arc<BTreeMap<String, Vec<String>>>,
    /// A service that refuses by itself, and is not told of.
    former: Option<&'static str>,
    /// One that another port serves, and where.
    elsewhere: Option<(&'static str, Arc<str>)>,
    /// One that is served to calls which other nodes pass on, and is not told of.
    to_nodes: Option<&'static str>,
}

impl Served {
    /// These services, of all that are described.
    pub(in crate::server) fn new(services: &[&str], described: &[&[u8]]) -> Self {
        // They are part of the program, and tests call what is in them.
        let sets = described.iter();
        let sets = sets.map(|it| FileDescriptorSet::decode(*it).unwrap_or_default());
        let mut served = BTreeMap::new();
        for file in sets.flat_map(|it| it.file) {
            for service in &file.service {
                let name = format!("{}.{}", file.package(), service.name());
                if services.contains(&&*name) {
                    let methods = service.method.iter().map(|it| it.name().to_owned());
                    served.insert(name, methods.collect());
                }
            }
        }
        Self {
            described: Arc::new(served),
            former: None,
            elsewhere: None,
            to_nodes: None,
        }
    }

    /// And this one, which refuses every call in its own words.
    pub(in crate::server) fn and_former(self, service: &'static str) -> Self {
        let former = Some(service);
        Self { former, ..self }
    }

    /// But not this one, which is there.
    pub(in crate::server) fn but(self, service: &'static str, there: &str) -> Self {
        let elsewhere = Some((service, there.into()));
        Self { elsewhere, ..self }
    }

    /// And this one, to calls that say that a node passes them on: whether it is one, and which methods there are, is asked
    /// for each.
    pub(in crate::server) fn and_to_nodes(self, service: &'static str) -> Self {
        let to_nodes = Some(service);
        Self { to_nodes, ..self }
    }

    /// Whether this path is one that nodes may pass on.
    pub(super) fn is_to_nodes(&self, path: &str) -> bool {
        let service = path.strip_prefix('/').and_then(|it| it.split('/').next());
        self.to_nodes.is_some() && self.to_nodes == service
    }

    /// Refuses a path that names no method.
    pub(super) fn check(&self, path: &str) -> Result<(), Refusal> {
        let called = path.strip_prefix('/').unwrap_or(path);
        let (service, method) = called.split_once('/').unwrap_or((called, ""));
        if self.former == Some(service) {
            return Ok(());
        }
        if let Some((_, there)) = self.elsewhere.as_ref().filter(|it| it.0 == service) {
            let problem = format!("{path} is not served here, but at {there}");
            return Err(Refusal::NotServed { problem });
        }
        let there_are = match self.described.get(service) {
            Some(methods) if methods.iter().any(|it| it == method) => return Ok(()),
            Some(methods) => methods.join(", "),
            None => self
                .described
                .keys()
                .cloned()
                .collect::<Vec<_>>()
                .join(", "),
        };
        let problem = format!("{path} is not served here, but {there_are}");
        Err(Refusal::NotServed { problem })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served() -> Served {
        let services = ["grpc.health.v1.Health"];
        Served::new(&services, &[tonic_health::pb::FILE_DESCRIPTOR_SET]).and_former("old.Service")
    }

    #[test]
    fn what_is_there_is_named_where_something_else_is_called() {
        for (path, there_are) in [
            ("/grpc.health.v1.Health/Guess", "but Check, Watch"),
            ("/grpc.health.v1.Health", "but Check, Watch"),
            ("/other.Service/Check", "but grpc.health.v1.Health"),
            ("/", "but grpc.health.v1.Health"),
        ] {
            let refused = served()
                .check(path)
                .expect_err("it is not there")
                .to_string();
            assert!(
                refused.starts_with(path) && refused.ends_with(there_are),
                "{refused}"
            );
        }
    }

    #[test]
    fn what_is_there_passes() {
        for path in ["/grpc.health.v1.Health/Watch", "/old.Service/Any"] {
            assert_eq!(served().check(path), Ok(()));
        }
    }
}
