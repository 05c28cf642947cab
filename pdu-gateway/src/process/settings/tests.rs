use super::*;
use crate::links::peer::Name;

#[test]
fn the_flags_are_well_formed() {
    Settings::command().debug_assert();
}

#[test]
fn a_node_has_to_be_named() {
    assert!(Settings::read(["pdu-gateway"]).is_err());
    assert!(Settings::read(["pdu-gateway", "--embedded"]).is_ok());
    let upstream = [
        "pdu-gateway",
        "--upstream",
        "http://a:1",
        "--upstream=http://b:1",
    ];
    assert_eq!(Settings::read(upstream).unwrap().upstream.len(), 2);
    for wrong in ["127.0.0.1", "https://a:1", "http://"] {
        let refused = Settings::read(["pdu-gateway", "--upstream", wrong]);
        assert!(refused.is_err(), "{wrong}");
    }
    let both = ["pdu-gateway", "--embedded", "--upstream", "http://a:1"];
    assert!(Settings::read(both).is_err());
}

#[test]
fn flags_that_contradict_each_other_are_refused() {
    let problem = |mode: &str, flag: &str| {
        let read = Settings::read(["pdu-gateway", mode, flag]);
        read.map_or_else(|error| error.to_string(), |_| "taken".to_owned())
    };

    for (flag, named) in [
        ("--link-queue-bytes=15MiB", "--max-pdu-bytes"),
        ("--window-total-bytes=7MiB", "--window-bytes"),
        ("--host-timeout=5s", "at least 6s"),
        (
            "--upstream-welcome-timeout=2s",
            "--upstream-connect-timeout",
        ),
        ("--upstream-back-off=61s", "--upstream-lost"),
        ("--remembered-origins=4095", "--max-connections"),
        ("--upstream-keepalive-interval=999ms", "at least 1s"),
        ("--upstream-stream-bytes=2GiB", "less than 2GiB"),
    ] {
        let problem = problem("--upstream=http://a:1", flag);
        let (flag, _) = flag.split_once('=').unwrap();
        assert!(
            problem.contains(flag) && problem.contains(named),
            "{problem}"
        );
    }
    let many = problem("--upstream=http://a:1", "--max-connections=10000");
    assert_eq!(many, "taken");
    let proxies = problem(
        "--embedded",
        "--proxy-protocol-from=192.168.7.0/24,192.0.2.1/32",
    );
    assert!(
        proxies.contains("192.0.2.1/32 is outside of --allow-cidr"),
        "{proxies}"
    );
    assert_eq!(
        problem("--embedded", "--proxy-protocol-from=0.0.0.0/0"),
        "taken"
    );
    let patient = problem("--embedded", "--patient-bytes=8MiB");
    assert!(patient.contains("more than --patient-bytes"), "{patient}");
}

#[test]
fn defaults_are_those_of_the_documentation() {
    let settings = Settings::parse_from(["pdu-gateway", "--embedded"]);

    assert_eq!(settings.listen, [listen_on("0.0.0.0:8200").unwrap()]);
    assert_eq!(settings.max_pdu_bytes, 16 << 20);
    assert_eq!(settings.idle_timeout, Duration::from_secs(30));
    assert_eq!(settings.allow_cidr.len(), 6);
    assert_eq!(settings.remembered_origins(), 8192);
    assert!(settings.client_types.is_empty() && !settings.lenient);
}

#[test]
fn every_flag_can_be_set_by_the_environment() {
    for arg in Settings::command().get_arguments() {
        let id = arg.get_id().as_str();
        if ["help", "version"].contains(&id) {
            continue;
        }
        let env = arg
            .get_env()
            .unwrap_or_else(|| panic!("{id} has no environment name"));
        let env = env.to_str().unwrap();
        assert!(
            env.starts_with("TT_GATEWAY_") || env.starts_with("TT_ROUTE_"),
            "{env}"
        );
        assert!(arg.get_help().is_some(), "{id} has no doc line");
    }
}

#[test]
fn a_network_that_is_none_is_told_what_is_wrong_with_it() {
    for right in ["10.0.0.0/8", "10.1.2.3/32", "0.0.0.0/0", "::/0", "fd00::/8"] {
        assert_eq!(network(right), Ok(right.parse().unwrap()));
    }
    for (wrong, reason) in [
        ("10.0.0.0/33", "from 0 to 32, not 33"),
        ("fd00::/129", "from 0 to 128, not 129"),
        ("10.0.0.0/eight", "from 0 to 32, not eight"),
        ("10.0.0.0/", "from 0 to 32"),
        ("10.0.0/8", "10.0.0 is no IP address"),
        ("10.1.2.3", "such as 10.1.0.0/16"),
    ] {
        let flag = format!("--allow-cidr=10.0.0.0/8,{wrong}");
        let error = Settings::read(["pdu-gateway", "--embedded", &flag]).unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
    }
}

#[test]
fn client_types_are_numbers_up_to_0xff() {
    assert_eq!(client_type("0x21"), Ok(0x21));
    assert_eq!(client_type("19"), Ok(0x13));
    assert!(client_type("0x100").is_err() && client_type("web").is_err());
}

#[test]
fn a_listener_and_hosts_may_have_names() {
    let settings = Settings::read([
        "pdu-gateway",
        "--embedded",
        "--listen=0.0.0.0:8200",
        "--listen=0.0.0.0:8201=one,[::1]:8201=one",
        "--msg-server=two=10.0.0.7,fd00::7,three=10.0.0.8",
        "--msg-server=two=10.0.0.9",
    ]);
    let settings = settings.unwrap();

    let listeners = settings.listen.iter().map(|on| {
        let name = on.name.as_ref().map_or("", Name::as_str);
        format!("{} {name}", on.address)
    });
    assert_eq!(
        listeners.collect::<Vec<_>>(),
        ["0.0.0.0:8200 ", "0.0.0.0:8201 one", "[::1]:8201 one"]
    );
    let hosts = settings.msg_server.iter().flat_map(|named| &named.0);
    assert_eq!(
        hosts
            .map(|(host, name)| format!("{host} {name}"))
            .collect::<Vec<_>>(),
        [
            "10.0.0.7 two",
            "fd00::7 two",
            "10.0.0.8 three",
            "10.0.0.9 two"
        ]
    );
}

#[test]
fn names_that_cannot_be_are_refused() {
    for (flags, reason) in [
        ("--listen=0.0.0.0:8201=", "1 to 63 letters"),
        ("--listen=0.0.0.0:8201=a b", "1 to 63 letters"),
        ("--listen=one=0.0.0.0:8201", "write IP:PORT"),
        (
            "--listen=10.0.0.1:8201,10.0.0.1:8201=a",
            "--listen 10.0.0.1:8201 is given twice",
        ),
        (
            "--listen=0.0.0.0:8201=a,10.0.0.1:8201=b",
            "take the same connections",
        ),
        (
            "--listen=[::]:8201=a,0.0.0.0:8201=b",
            "give each a port of its own",
        ),
        (
            "--listen=10.0.0.1:8201=a,[::]:8201=b",
            "take the same connections",
        ),
        ("--listen=0.0.0.0:8201=10.0.0.7", "is no IP address"),
        ("--msg-server=10.0.0.7=10.0.0.7", "is no IP address"),
        (
            "--msg-server=a=10.0.0.7,192.0.2.7",
            "a=192.0.2.7 is outside of --allow-cidr",
        ),
        ("--msg-server=10.0.0.7", "write NAME=IP"),
        ("--msg-server=a=10.0.0.7,", "\"\" is no IP address"),
        ("--msg-server=a=10.0.0.0/8", "is no IP address"),
        ("--msg-server=a/b=10.0.0.7", "1 to 63 letters"),
        (
            "--msg-server=a=10.0.0.7,b=::ffff:10.0.0.7",
            "10.0.0.7 is a and b",
        ),
    ] {
        let error = Settings::read(["pdu-gateway", "--embedded", flags]).unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
    }
    let free = "--listen=127.0.0.1:0,127.0.0.1:0,127.0.0.1:8200,127.0.0.2:8200,[::1]:8200,0.0.0.0:8201,[::1]:8201";
    assert!(Settings::read(["pdu-gateway", "--embedded", free]).is_ok());
}
