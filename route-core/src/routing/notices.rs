//! The legacy rules for the notices that follow an update: 0x070e, then 0x0203
//! (`CRouteConn::_HandleUserStatusUpdate`).

use crate::change::ReportedStatus;
use crate::delivery::Payload;
use crate::ids::UserId;
use crate::presence::Client;
use crate::status::Summary;

/// What MsgServers are told after `status` was reported of a client, in order. `known` and `after`
/// are with the report applied; hidden logins are no part of them.
pub(super) fn after_update(
    client: Client,
    status: ReportedStatus,
    known: bool,
    after: Summary,
) -> impl Iterator<Item = Payload> {
    let user = client.user;
    let desktop = client.client_type.is_desktop();
    let left = status == ReportedStatus::Offline;

    let login = match (known, left) {
        (false, _) => None,
        (true, true) => (desktop && !after.legacy_online).then_some(false),
        (true, false) => after.legacy_online.then_some(true),
    };
    let status_shows = desktop && !(left && after.legacy_online);

    let login = login.map(|on| Payload::DesktopLogin { user, on });
    let status = status_shows.then_some(Payload::Status { user, status });
    login.into_iter().chain(status)
}

/// What MsgServers are told of a user whatever they were told before, in order. `known`: whether a
/// desktop client is there, if any client is. `of_desktop`: a desktop client is concerned.
pub(super) fn of_state(
    user: UserId,
    known: Option<bool>,
    status: ReportedStatus,
    of_desktop: bool,
) -> impl Iterator<Item = Payload> {
    // Of a mobile client that comes or goes alone, nobody is told.
    let login = known.filter(|on| *on || of_desktop);
    let login = login.map(|on| Payload::DesktopLogin { user, on });
    let status = of_desktop.then_some(Payload::Status { user, status });
    login.into_iter().chain(status)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ClientType;
    use crate::status::Status;

    const WINDOWS: ClientType = ClientType::published(0x01);
    const IOS: ClientType = ClientType::published(0x11);

    fn told(client_type: ClientType, status: ReportedStatus, after: Summary) -> Vec<Payload> {
        let known = after.status != Status::Offline;
        let client = Client {
            user: UserId(7),
            client_type,
        };
        after_update(client, status, known, after).collect()
    }

    fn login(on: bool) -> Payload {
        Payload::DesktopLogin {
            user: UserId(7),
            on,
        }
    }

    fn shows(status: ReportedStatus) -> Payload {
        Payload::Status {
            user: UserId(7),
            status,
        }
    }

    const DESKTOP: Summary = Summary {
        status: Status::Online,
        legacy_online: true,
        mobile: false,
    };
    const MOBILE_ONLY: Summary = Summary {
        status: Status::Online,
        legacy_online: false,
        mobile: true,
    };

    #[test]
    fn the_table_of_the_legacy_rules() {
        use ReportedStatus::{Away, Offline, Online};
        let cases = [
            (
                "first desktop login",
                WINDOWS,
                Online,
                DESKTOP,
                vec![login(true), shows(Online)],
            ),
            (
                "desktop goes away",
                WINDOWS,
                Away,
                DESKTOP,
                vec![login(true), shows(Away)],
            ),
            (
                "mobile login, desktop on",
                IOS,
                Online,
                DESKTOP,
                vec![login(true)],
            ),
            ("mobile login alone", IOS, Online, MOBILE_ONLY, vec![]),
            (
                "last desktop off, mobile stays",
                WINDOWS,
                Offline,
                MOBILE_ONLY,
                vec![login(false), shows(Offline)],
            ),
            ("one of two desktops off", WINDOWS, Offline, DESKTOP, vec![]),
            (
                "last client off",
                WINDOWS,
                Offline,
                Summary::OFFLINE,
                vec![shows(Offline)],
            ),
            ("mobile off", IOS, Offline, DESKTOP, vec![]),
            ("last mobile off", IOS, Offline, Summary::OFFLINE, vec![]),
        ];
        for (case, client_type, status, after, expected) in cases {
            assert_eq!(told(client_type, status, after), expected, "{case}");
        }
    }

    #[test]
    fn a_state_is_told_whatever_was_told_before() {
        use ReportedStatus::{Away, Offline, Online};
        for (case, known, status, of_desktop, expected) in [
            (
                "a desktop is active",
                Some(true),
                Online,
                true,
                vec![login(true), shows(Online)],
            ),
            (
                "all desktops are away",
                Some(true),
                Away,
                true,
                vec![login(true), shows(Away)],
            ),
            (
                "the last desktop is off, a mobile is there",
                Some(false),
                Offline,
                true,
                vec![login(false), shows(Offline)],
            ),
            ("nobody is there", None, Offline, true, vec![shows(Offline)]),
            (
                "a mobile came to a desktop",
                Some(true),
                Away,
                false,
                vec![login(true)],
            ),
            ("a mobile is alone", Some(false), Offline, false, vec![]),
        ] {
            let told: Vec<_> = of_state(UserId(7), known, status, of_desktop).collect();
            assert_eq!(told, expected, "{case}");
        }
    }
}
