//! What `top` shows: numbers, gateways, links.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;
use route_proto::admin::v1alpha1::{
    GatewayState, GetStatsResponse, LinkActivity, WatchTopologyResponse,
};

use super::Key;
use crate::admin::gateways::state_of;
use crate::admin::links::{notes, part_of};
use crate::admin::stats::not_ready;
use crate::failure::Failure;
use crate::show;
use crate::table::{Column, Table};

/// Lines above the tables.
const HEAD: u16 = 4;

/// Lines of gateways at most: their title, and this many less one.
const GATEWAYS: u16 = 9;

/// By what links stand in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Rate,
    Sessions,
    MsgServer,
}

/// One screen.
#[derive(Debug)]
pub(super) struct Screen {
    address: String,
    colours: bool,
    state: Option<WatchTopologyResponse>,
    /// Why there is no newer state.
    problem: Option<String>,
    order: Order,
    /// Links that have been scrolled away.
    skipped: usize,
}

impl Screen {
    /// Of the node at this address, with or without colours.
    pub(super) fn new(address: String, colours: bool) -> Self {
        Self {
            address,
            colours,
            state: None,
            problem: None,
            order: Order::Rate,
            skipped: 0,
        }
    }

    /// The node has told this.
    pub(super) fn show(&mut self, state: WatchTopologyResponse) {
        (self.state, self.problem) = (Some(state), None);
    }

    /// The node is away: what is shown is old.
    pub(super) fn lost(&mut self, failure: &Failure) {
        self.problem = Some(format!("the node is away, trying again: {failure}"));
    }

    /// Somebody wants something.
    pub(super) fn pressed(&mut self, key: Key) {
        match key {
            Key::Sort => {
                self.order = match self.order {
                    Order::Rate => Order::Sessions,
                    Order::Sessions => Order::MsgServer,
                    Order::MsgServer => Order::Rate,
                };
                self.skipped = 0;
            }
            Key::Up => self.skipped = self.skipped.saturating_sub(1),
            Key::Down => self.skipped += 1,
            Key::Resized | Key::Quit => {}
        }
    }

    /// Draws all of it.
    pub(super) fn draw(&mut self, frame: &mut Frame<'_>) {
        let gateways = self.state.as_ref().map_or(0, |state| state.gateways.len());
        let gateways = u16::try_from(gateways + 1)
            .unwrap_or(u16::MAX)
            .min(GATEWAYS);
        let heights = [
            Constraint::Length(HEAD),
            Constraint::Length(gateways + 1),
            Constraint::Min(0),
            Constraint::Length(1),
        ];
        let [head, middle, links, foot] = Layout::vertical(heights).areas(frame.area());
        frame.render_widget(Paragraph::new(self.head(head.width.into())), head);
        if let Some(state) = &self.state {
            let width = usize::from(middle.width);
            self.table(frame, middle, &gateway_table(state).lines(Some(width)));
            let all = state.links.len();
            self.skipped = self.skipped.min(all.saturating_sub(1));
            let table = self.link_table(state);
            self.table(frame, links, &table.lines(Some(width)));
        }
        let order = match self.order {
            Order::Rate => "rate",
            Order::Sessions => "sessions",
            Order::MsgServer => "MsgServer",
        };
        let mut keys = format!("q quit  s sort (by {order})  up/down scroll");
        if let Some((shown, all)) = self.state.as_ref().and_then(left_out) {
            keys = format!("{keys}  the first {shown} of {all} links");
        }
        frame.render_widget(Paragraph::new(keys).style(self.dim()), foot);
    }

    fn head(&self, width: usize) -> Vec<Line<'static>> {
        let at = self
            .state
            .as_ref()
            .and_then(|state| state.node_time.as_ref());
        let (state, stats) = match &self.state {
            Some(state) => (state, state.stats.clone().unwrap_or_default()),
            None => return vec![Line::raw("waiting for the node")],
        };
        let title = [
            "TeamTalk Route".to_owned(),
            self.address.clone(),
            show::time(at),
            leader(&stats),
        ];
        let mut lines = vec![Line::styled(fitting(&title, width), self.bold())];
        let counts = [
            format!("users {}", stats.user_count),
            format!("sessions {}", stats.session_count),
            format!("links {}", stats.link_count),
            format!("claimed {}", stats.claimed_link_count),
            format!("shadows {}", stats.shadow_link_count),
            format!("streams {}", stats.stream_count),
        ];
        let flow = [
            format!("dropped {}", stats.dropped_count),
            format!("queued {}", show::bytes(stats.queued_bytes)),
            format!("entries/s {:.0}", state.entry_rate),
            format!("deliveries/s {:.0}", state.delivery_rate),
            format!("unconfirmed {}", show::bytes(stats.unconfirmed_bytes)),
        ];
        lines.push(Line::raw(fitting(&counts, width)));
        lines.push(Line::raw(fitting(&flow, width)));
        lines.push(self.trouble(state, &stats));
        lines
    }

    /// What is wrong, in one line.
    fn trouble(&self, state: &WatchTopologyResponse, stats: &GetStatsResponse) -> Line<'static> {
        let away = state
            .gateways
            .iter()
            .filter(|it| it.state() == GatewayState::Away);
        let away: Vec<_> = away.map(|it| it.gateway_id.clone()).collect();
        let text = if let Some(problem) = &self.problem {
            problem.clone()
        } else if let Some(why) = not_ready(stats) {
            why
        } else if !away.is_empty() {
            format!("away: {}", away.join(", "))
        } else {
            return Line::raw("");
        };
        Line::from(Span::styled(text, self.alarm()))
    }

    fn link_table(&self, state: &WatchTopologyResponse) -> Table {
        let mut links: Vec<_> = state.links.iter().collect();
        match self.order {
            Order::Rate => links.sort_by(|a, b| b.entry_rate.total_cmp(&a.entry_rate)),
            Order::Sessions => links.sort_by_key(|it| std::cmp::Reverse(sessions(it))),
            Order::MsgServer => {
                links.sort_by_key(|it| it.link.as_ref().map(|it| it.msg_server.clone()))
            }
        }
        let mut table = Table::new(&[
            ("MsgServer", Column::Id),
            ("part", Column::Word),
            ("sessions", Column::Number),
            ("entries/s", Column::Number),
            ("gateway", Column::Id),
            ("link", Column::Id),
            ("notes", Column::Text),
        ])
        .least_first(&["notes", "link", "sessions", "gateway"]);
        for it in links.into_iter().skip(self.skipped) {
            let Some(link) = &it.link else { continue };
            let claimed = if link.is_claimed { "*" } else { "" };
            table.row([
                link.msg_server.clone(),
                format!("{}{claimed}", part_of(link)),
                link.session_count.to_string(),
                format!("{:.1}", it.entry_rate),
                link.gateway_id.clone(),
                link.link.clone(),
                notes(link),
            ]);
        }
        table
    }

    /// A table whose first line is its titles.
    fn table(&self, frame: &mut Frame<'_>, area: Rect, lines: &[String]) {
        let mut lines = lines.iter().map(|line| Line::raw(line.clone()));
        let titles = lines.next().map(|line| line.style(self.titles()));
        let all: Vec<_> = titles.into_iter().chain(lines).collect();
        frame.render_widget(Paragraph::new(all), area);
    }

    fn bold(&self) -> Style {
        Style::default().add_modifier(Modifier::BOLD)
    }

    fn dim(&self) -> Style {
        Style::default().add_modifier(Modifier::DIM)
    }

    fn titles(&self) -> Style {
        match self.colours {
            true => Style::default().fg(Color::Cyan),
            false => self.bold(),
        }
    }

    fn alarm(&self) -> Style {
        match self.colours {
            true => Style::default().fg(Color::Red),
            false => Style::default().add_modifier(Modifier::REVERSED),
        }
    }
}

/// Who leads, and through which other node that is seen.
fn leader(stats: &GetStatsResponse) -> String {
    let node = &stats.node_id;
    let leader = match stats.term {
        0 => format!("node {node}"),
        term => format!("leader {node} in term {term}"),
    };
    match stats.passed_on_by.as_str() {
        "" => leader,
        by => format!("{leader}, through {by}"),
    }
}

fn sessions(it: &LinkActivity) -> u32 {
    it.link.as_ref().map_or(0, |link| link.session_count)
}

fn gateway_table(state: &WatchTopologyResponse) -> Table {
    let mut table = Table::new(&[
        ("gateway", Column::Id),
        ("state", Column::Word),
        ("links", Column::Number),
        ("queued", Column::Number),
        ("dropped", Column::Number),
    ])
    .least_first(&["dropped", "queued"]);
    for it in &state.gateways {
        table.row([
            it.gateway_id.clone(),
            state_of(it),
            it.link_count.to_string(),
            show::bytes(it.queued_bytes),
            it.dropped_count.to_string(),
        ]);
    }
    table
}

/// As many as there is room for: half a number would be another one.
fn fitting(all: &[String], width: usize) -> String {
    let mut line = String::new();
    for one in all {
        let gap = if line.is_empty() { "" } else { "  " };
        if line.len() + gap.len() + one.len() > width {
            break;
        }
        line.push_str(gap);
        line.push_str(one);
    }
    line
}

/// How many links there are, and of how many the node tells, if that is less.
fn left_out(state: &WatchTopologyResponse) -> Option<(usize, u64)> {
    let (shown, all) = (state.links.len(), state.stats.as_ref()?.link_count);
    (u64::from(all) > shown as u64).then_some((shown, all.into()))
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use route_proto::admin::v1alpha1::{Gateway, Link, LinkPart};

    use super::*;

    fn link(msg_server: &str, session_count: u32, entry_rate: f64) -> LinkActivity {
        let link = Link {
            link: format!("1f-{session_count}"),
            msg_server: msg_server.to_owned(),
            gateway_id: "gate-1".to_owned(),
            part: LinkPart::Active.into(),
            is_claimed: true,
            is_listed: true,
            session_count,
            ..Link::default()
        };
        LinkActivity {
            link: Some(link),
            entry_rate,
        }
    }

    fn state() -> WatchTopologyResponse {
        WatchTopologyResponse {
            stats: Some(GetStatsResponse {
                is_synced: true,
                node_id: "node-0".to_owned(),
                term: 7,
                user_count: 30,
                link_count: 2,
                ..GetStatsResponse::default()
            }),
            gateways: vec![Gateway {
                gateway_id: "gate-1".to_owned(),
                state: GatewayState::Here.into(),
                link_count: 2,
                ..Gateway::default()
            }],
            links: vec![link("msg-a", 20, 1.0), link("msg-b", 10, 250.0)],
            entry_rate: 251.0,
            ..WatchTopologyResponse::default()
        }
    }

    fn drawn(screen: &mut Screen, width: u16, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
        terminal.draw(|frame| screen.draw(frame)).expect("it draws");
        let shown = terminal.backend().to_string();
        shown
            .lines()
            .map(|line| line.trim_matches('"').trim_end().to_owned())
            .collect()
    }

    #[test]
    fn who_sends_most_comes_first_unless_somebody_sorts() {
        let mut screen = Screen::new("here".to_owned(), false);
        screen.show(state());

        let lines = drawn(&mut screen, 100, 12);
        assert!(lines[1].starts_with("users 30"), "{lines:?}");
        assert!(
            lines[2].starts_with("dropped 0  queued 0 B  entries/s 251"),
            "{lines:?}"
        );
        assert!(lines[8].starts_with("msg-b"), "{lines:?}");
        screen.pressed(Key::Sort);
        assert!(drawn(&mut screen, 100, 12)[8].starts_with("msg-a"));
        screen.pressed(Key::Down);
        assert!(drawn(&mut screen, 100, 12)[8].starts_with("msg-b"));
        screen.pressed(Key::Down);
        assert!(
            drawn(&mut screen, 100, 12)[8].starts_with("msg-b"),
            "the last one stays"
        );
    }

    #[test]
    fn who_leads_and_through_whom_that_is_seen_is_said() {
        let mut screen = Screen::new("here".to_owned(), false);
        let mut seen = state();
        screen.show(seen.clone());
        let title = |screen: &mut Screen| drawn(screen, 100, 12).swap_remove(0);
        assert!(title(&mut screen).ends_with("leader node-0 in term 7"));

        let stats = seen.stats.as_mut().expect("it has");
        stats.passed_on_by = "node-1".to_owned();
        screen.show(seen.clone());
        let through = title(&mut screen);
        assert!(through.ends_with("term 7, through node-1"), "{through}");

        let stats = seen.stats.as_mut().expect("it has");
        (stats.term, stats.passed_on_by) = (0, String::new());
        screen.show(seen);
        let alone = title(&mut screen);
        assert!(alone.starts_with("TeamTalk Route  here"), "{alone}");
        assert!(alone.ends_with("node node-0"), "{alone}");
    }

    #[test]
    fn a_small_terminal_shows_what_fits() {
        let mut screen = Screen::new("here".to_owned(), true);
        screen.show(state());

        for (width, height) in [(40, 8), (20, 3), (1, 1)] {
            let lines = drawn(&mut screen, width, height);
            assert_eq!(lines.len(), usize::from(height));
            assert!(
                lines
                    .iter()
                    .all(|line| line.chars().count() <= usize::from(width))
            );
        }
    }

    #[test]
    fn no_number_is_cut_and_no_link_left_out_without_a_word() {
        let mut screen = Screen::new("here".to_owned(), false);
        let mut crowded = state();
        crowded.stats.as_mut().expect("it has").link_count = 3000;
        screen.show(crowded);

        let lines = drawn(&mut screen, 40, 12);
        assert_eq!(lines[1], "users 30  sessions 0  links 3000");
        let foot = &drawn(&mut screen, 80, 12)[11];
        assert!(foot.contains("the first 2 of 3000 links"), "{foot}");
    }

    #[test]
    fn a_node_that_is_away_and_back_is_said() {
        let mut screen = Screen::new("here".to_owned(), false);
        screen.show(state());
        screen.lost(&Failure::NoAdmin {
            address: "here".to_owned(),
            problem: "Connection refused".to_owned(),
        });

        assert!(drawn(&mut screen, 100, 12)[3].starts_with("the node is away"));
        screen.show(state());
        assert_eq!(drawn(&mut screen, 100, 12)[3], "");
    }
}
