//! Flags that say who may do what, and how connections are kept from others.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{Args, ValueEnum};
use route_access::TokenRules;
use route_runtime::flags::duration_or_zero;
use route_runtime::tls::server::ServerFiles;

/// Credentials, rights and TLS of all gRPC ports.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Security")]
pub struct SecuritySettings {
    /// What identities may do: a TOML file (docs/policy.md). Read again when it changes, and at SIGHUP. Without one,
    /// everything is allowed, on loopback addresses only
    #[arg(long, env = "TT_ROUTE_POLICY", value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Whether the policy is enforced, or only logs what it would refuse of readers, listeners and publishers
    #[arg(long, env = "TT_ROUTE_POLICY_MODE", value_enum, default_value_t = PolicyMode::Enforce)]
    pub policy_mode: PolicyMode,
    /// Listen on other addresses than loopback without a policy: everybody who can reach them may read, listen, publish and
    /// attach gateways
    #[arg(long, env = "TT_ROUTE_INSECURE", value_parser = BoolishValueParser::new())]
    pub insecure: bool,
    /// Certificate of all gRPC ports in PEM, with those that lead to its root. Read again when it changes
    #[arg(long, env = "TT_ROUTE_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// Its key
    #[arg(long, env = "TT_ROUTE_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// Roots of clients' certificates. With it, a client may show one, and is who it says
    #[arg(long, env = "TT_ROUTE_TLS_CLIENT_CA", value_name = "FILE")]
    pub tls_client_ca: Option<PathBuf>,
    /// Public keys of tokens: a JWKS file. Read again when it changes
    #[arg(long, env = "TT_ROUTE_TOKEN_KEYS", value_name = "FILE")]
    pub token_keys: Option<PathBuf>,
    /// Whom a token has to be for (`aud`); may be given several times
    #[arg(
        long,
        env = "TT_ROUTE_TOKEN_AUDIENCE",
        value_name = "AUDIENCE",
        value_delimiter = ','
    )]
    pub token_audience: Vec<String>,
    /// Who has to have issued it (`iss`); may be given several times [default: anybody whose keys these are]
    #[arg(
        long,
        env = "TT_ROUTE_TOKEN_ISSUER",
        value_name = "ISSUER",
        value_delimiter = ','
    )]
    pub token_issuer: Vec<String>,
    /// By how much clocks may differ when a token begins and ends
    #[arg(long, env = "TT_ROUTE_TOKEN_LEEWAY", value_name = "TIME", value_parser = duration_or_zero, default_value = "30s")]
    pub token_leeway: Duration,
}

/// Whether a policy is enforced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PolicyMode {
    /// What it does not allow is refused
    Enforce,
    /// What it does not allow readers, listeners and publishers is logged, and allowed
    Audit,
}

/// Longest leeway: more is a clock that has to be mended.
const MOST_LEEWAY: Duration = Duration::from_secs(600);

/// Flags that are of no use without another one.
const NEEDS: [(&str, &str); 9] = [
    ("--tls-cert", "--tls-key"),
    ("--tls-key", "--tls-cert"),
    ("--tls-client-ca", "--tls-cert"),
    ("--tls-client-ca", "--policy"),
    ("--token-keys", "--token-audience"),
    ("--token-keys", "--policy"),
    ("--token-audience", "--token-keys"),
    ("--token-issuer", "--token-keys"),
    ("--policy-mode audit", "--policy"),
];

impl SecuritySettings {
    /// What is wrong with the flags together.
    pub(super) fn check(&self) -> Result<(), String> {
        let given = [
            ("--policy", self.policy.is_some()),
            ("--tls-cert", self.tls_cert.is_some()),
            ("--tls-key", self.tls_key.is_some()),
            ("--tls-client-ca", self.tls_client_ca.is_some()),
            ("--token-keys", self.token_keys.is_some()),
            ("--token-audience", !self.token_audience.is_empty()),
            ("--token-issuer", !self.token_issuer.is_empty()),
            ("--policy-mode audit", self.policy_mode == PolicyMode::Audit),
        ];
        let is_given = |flag: &str| given.iter().any(|(it, is_given)| *it == flag && *is_given);
        for (flag, other) in NEEDS {
            if is_given(flag) && !is_given(other) {
                return Err(format!("{flag} needs {other}"));
            }
        }
        if self.policy.is_some() && self.insecure {
            return Err("--insecure and --policy contradict each other: leave one out".to_owned());
        }
        if self.token_leeway > MOST_LEEWAY {
            return Err("--token-leeway has to be at most 10m".to_owned());
        }
        Ok(())
    }

    /// What is wrong with listening on these addresses: flag and address of each, and of AdminService.
    ///
    /// # Errors
    ///
    /// Others than this host could reach one, and nothing says who may do what there.
    pub(crate) fn check_exposure(
        &self,
        listens: &[(&str, SocketAddr)],
        admin: Option<(&str, SocketAddr)>,
    ) -> Result<(), String> {
        let is_exposed = |(_, address): &&(&str, SocketAddr)| !address.ip().is_loopback();
        if self.policy.is_some() {
            return Ok(());
        }
        if let Some((flag, address)) = admin.as_ref().filter(is_exposed) {
            return Err(format!(
                "{flag} {address} can be reached from other hosts, and nothing says who may operate the node, which --insecure \
                 allows to nobody: give --policy, or listen on a loopback address or a socket"
            ));
        }
        match listens.iter().find(is_exposed) {
            Some((flag, address)) if !self.insecure => Err(format!(
                "{flag} {address} can be reached from other hosts, and nothing says who may do what there: give --policy, \
                 listen on a loopback address, or say --insecure to let everybody in"
            )),
            Some(_) | None => Ok(()),
        }
    }

    /// The files of TLS, if there is TLS.
    pub(crate) fn tls(&self) -> Option<ServerFiles> {
        Some(ServerFiles {
            certificate: self.tls_cert.clone()?,
            key: self.tls_key.clone()?,
            client_roots: self.tls_client_ca.clone(),
        })
    }

    /// What a token has to be.
    pub(crate) fn tokens(&self) -> TokenRules {
        TokenRules {
            audiences: self.token_audience.clone(),
            issuers: self.token_issuer.clone(),
            leeway: self.token_leeway,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        security: SecuritySettings,
    }

    fn of(flags: &str) -> SecuritySettings {
        let flags = flags.split_whitespace();
        Cli::try_parse_from(["node"].into_iter().chain(flags))
            .expect("they are flags")
            .security
    }

    #[test]
    fn flags_that_do_not_fit_together_are_refused_with_what_is_missing() {
        const TOKENS: &str = "--token-keys=k --token-audience=a --policy=p";
        for (flags, told) in [
            ("--tls-cert=c", "--tls-cert needs --tls-key"),
            ("--tls-key=k", "--tls-key needs --tls-cert"),
            (
                "--tls-client-ca=c --policy=p",
                "--tls-client-ca needs --tls-cert",
            ),
            (
                "--tls-client-ca=c --tls-cert=c --tls-key=k",
                "--tls-client-ca needs --policy",
            ),
            (
                "--token-keys=k --policy=p",
                "--token-keys needs --token-audience",
            ),
            (
                "--token-keys=k --token-audience=a",
                "--token-keys needs --policy",
            ),
            ("--token-audience=a", "--token-audience needs --token-keys"),
            ("--token-issuer=i", "--token-issuer needs --token-keys"),
            ("--policy-mode=audit", "--policy-mode audit needs --policy"),
            (
                "--policy=p --insecure",
                "--insecure and --policy contradict each other: leave one out",
            ),
            (
                "--token-leeway=601s",
                "--token-leeway has to be at most 10m",
            ),
        ] {
            assert_eq!(of(flags).check(), Err(told.to_owned()), "{flags}");
        }
        for right in [
            "",
            "--insecure",
            "--policy=p --policy-mode=audit",
            "--tls-cert=c --tls-key=k",
            "--tls-cert=c --tls-key=k --tls-client-ca=c --policy=p",
            TOKENS,
            "--token-keys=k --token-audience=a,b --token-issuer=i --policy=p --token-leeway=10m",
        ] {
            assert_eq!(of(right).check(), Ok(()), "{right}");
        }
        assert_eq!(
            of("--token-keys=k --token-audience=a,b").token_audience,
            ["a", "b"]
        );
    }

    #[test]
    fn what_others_can_reach_needs_a_policy_or_to_be_insecure_on_purpose() {
        let checked = |flags: &str, public: &str, attach: &str, admin: &str| {
            let at = |address: &str| address.parse().expect("an address");
            let listens = [("--listen", at(public)), ("--attach-listen", at(attach))];
            of(flags).check_exposure(&listens, Some(("--admin-grpc-listen", at(admin))))
        };
        const HERE: &str = "127.0.0.1:1";
        for everywhere in ["0.0.0.0:1", "[::]:1", "192.0.2.1:1", "[2001:db8::1]:1"] {
            for (flag, [public, attach, admin]) in [
                ("--listen", [everywhere, HERE, "[::1]:2"]),
                ("--attach-listen", [HERE, everywhere, HERE]),
                ("--admin-grpc-listen", [HERE, HERE, everywhere]),
            ] {
                let told = checked("", public, attach, admin).expect_err("it is open");
                let begins = format!("{flag} {everywhere} can be reached from other hosts");
                assert!(told.starts_with(&begins), "{told}");
                assert!(told.contains("give --policy"), "{told}");
                assert_eq!(checked("--policy=p", public, attach, admin), Ok(()));
                let insecure = checked("--insecure", public, attach, admin);
                assert_eq!(
                    insecure.is_ok(),
                    flag != "--admin-grpc-listen",
                    "{insecure:?}"
                );
            }
        }
        assert_eq!(checked("", HERE, HERE, HERE), Ok(()));
    }
}
