//! Tables for people: columns of text, as wide as the terminal is.

use std::io::{self, IsTerminal};

use crate::failure::Failure;
use crate::show;

/// Between two columns.
const GAP: &str = "  ";

/// A text is not made narrower than this.
const NARROWEST: usize = 12;

/// What stands in a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Column {
    /// What people type again: an id, the name of a MsgServer. It is never cut.
    Id,
    /// A word or a time: whole, or left out.
    Word,
    /// A number: the same.
    Number,
    /// A text, which may be cut.
    Text,
}

/// A table. Where it is wider than the terminal, columns without a text in any row are left out first, then those that
/// are said to matter least; texts are cut, ids never. What is still too wide is shown with a line for each cell. Where the
/// output is no terminal, all is shown.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<(&'static str, Column)>,
    rows: Vec<Vec<String>>,
    /// Titles of columns, the one that is left out first at the beginning.
    least: &'static [&'static str],
}

impl Table {
    /// With these columns, and no rows. A title in small letters is written in capitals.
    pub(crate) fn new(columns: &[(&'static str, Column)]) -> Self {
        Self {
            columns: columns.to_vec(),
            rows: Vec::new(),
            least: &[],
        }
    }

    /// These columns matter least, by their titles: the first one goes first.
    pub(crate) fn least_first(mut self, titles: &'static [&'static str]) -> Self {
        let is_column = |title: &&str| self.columns.iter().any(|(it, _)| it == title);
        debug_assert!(titles.iter().all(is_column), "each is a column");
        self.least = titles;
        self
    }

    /// One more row: a text for each column.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        debug_assert_eq!(N, self.columns.len(), "a text for each column");
        self.rows.push(cells.into());
    }

    /// Writes it to standard output.
    pub(crate) fn print(&self) -> Result<(), Failure> {
        self.fitting(width())
            .iter()
            .try_for_each(|line| show::line(line))
    }

    fn fitting(&self, width: Option<usize>) -> Vec<String> {
        let lines = self.lines(width);
        let fits = |line: &String| width.is_none_or(|width| line.chars().count() <= width);
        match self.rows.is_empty() || lines.iter().all(fits) {
            true => lines,
            false => self.folded(),
        }
    }

    /// Each cell on a line of its own, behind its title, but for columns without a text; and a line between two rows.
    fn folded(&self) -> Vec<String> {
        let columns: Vec<_> = (0..self.columns.len())
            .filter(|column| !self.is_empty(*column))
            .collect();
        let titles = columns.iter().map(|it| self.columns[*it].0.chars().count());
        let width = titles.max().unwrap_or_default();
        let mut lines = Vec::new();
        for row in &self.rows {
            if !lines.is_empty() {
                lines.push(String::new());
            }
            lines.extend(columns.iter().map(|column| {
                let title = self.columns[*column].0.to_uppercase();
                format!("{title:<width$}{GAP}{}", row[*column])
            }));
        }
        lines
    }

    /// Its lines, at most so many characters wide if that can be.
    pub(crate) fn lines(&self, width: Option<usize>) -> Vec<String> {
        let titles: Vec<_> = self
            .columns
            .iter()
            .map(|(it, _)| it.to_uppercase())
            .collect();
        let mut shown: Vec<_> = (0..self.columns.len())
            .map(|column| Shown {
                column,
                width: self.widest(column, &titles[column]),
            })
            .collect();
        if let Some(width) = width {
            self.fit(&mut shown, width);
        }
        let all = [&titles].into_iter().chain(&self.rows);
        all.map(|row| self.line(row, &shown)).collect()
    }

    fn widest(&self, column: usize, title: &str) -> usize {
        let cells = self.rows.iter().map(|row| row[column].chars().count());
        cells.fold(title.chars().count(), usize::max)
    }

    /// Leaves out columns, and makes texts narrower, until the rest fits.
    fn fit(&self, shown: &mut Vec<Shown>, width: usize) {
        let is_text = |it: &Shown| self.columns[it.column].1 == Column::Text;
        let least = |shown: &[Shown]| {
            let widths = shown.iter().map(|it| match is_text(it) {
                true => NARROWEST.min(it.width),
                false => it.width,
            });
            widths.sum::<usize>() + GAP.len() * shown.len().saturating_sub(1)
        };
        if total(shown) > width {
            shown.retain(|it| self.rows.is_empty() || !self.is_empty(it.column));
        }
        for title in self.least {
            if least(shown) <= width {
                break;
            }
            shown.retain(|it| self.columns[it.column].0 != *title);
        }
        while total(shown) > width {
            let texts = shown
                .iter_mut()
                .filter(|it| is_text(it) && it.width > NARROWEST);
            let Some(widest) = texts.max_by_key(|it| it.width) else {
                return;
            };
            widest.width -= 1;
        }
    }

    /// Nothing stands there, in no row.
    fn is_empty(&self, column: usize) -> bool {
        let mut rows = self.rows.iter();
        rows.all(|row| matches!(row[column].as_str(), "" | "-"))
    }

    fn line(&self, row: &[String], shown: &[Shown]) -> String {
        let cells = shown.iter().map(|&Shown { column, width }| {
            let cell = cut(&row[column], width);
            match self.columns[column].1 {
                Column::Id | Column::Word | Column::Text => format!("{cell:<width$}"),
                Column::Number => format!("{cell:>width$}"),
            }
        });
        let cells: Vec<_> = cells.collect();
        cells.join(GAP).trim_end().to_owned()
    }
}

/// A column that is shown, and how wide.
#[derive(Debug)]
struct Shown {
    column: usize,
    width: usize,
}

fn total(shown: &[Shown]) -> usize {
    let widths = shown.iter().map(|it| it.width);
    widths.sum::<usize>() + GAP.len() * shown.len().saturating_sub(1)
}

/// So many characters of it, with a mark where some are left out: near the beginning, for names and ids mostly begin
/// alike.
fn cut(text: &str, width: usize) -> String {
    let count = text.chars().count();
    if count <= width {
        return text.to_owned();
    }
    let kept = width.saturating_sub(1);
    let head = kept / 3;
    let tail = text.chars().skip(count - (kept - head));
    text.chars().take(head).chain(['…']).chain(tail).collect()
}

/// How wide the terminal is, if the output is one.
fn width() -> Option<usize> {
    let stdout = io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    let (width, _) = terminal_size::terminal_size_of(stdout)?;
    Some(width.0.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&[
            ("name", Column::Id),
            ("count", Column::Number),
            ("since", Column::Word),
            ("lost", Column::Word),
            ("about", Column::Text),
        ])
        .least_first(&["since", "count"]);
        let row = |texts: [&str; 5]| texts.map(str::to_owned);
        table.row(row(["msg-1", "7", "12:00:00", "-", "short"]));
        table.row(row([
            "a-name-that-is-long",
            "12345",
            "12:00:01",
            "",
            "a text that is long, too",
        ]));
        table
    }

    #[test]
    fn columns_are_as_wide_as_what_stands_in_them() {
        let lines = table().lines(None);

        assert_eq!(
            lines,
            [
                "NAME                 COUNT  SINCE     LOST  ABOUT",
                "msg-1                    7  12:00:00  -     short",
                "a-name-that-is-long  12345  12:00:01        a text that is long, too",
            ]
        );
    }

    #[test]
    fn what_is_empty_goes_first_then_texts_are_cut_then_what_matters_least_goes() {
        let at = |width| table().lines(Some(width));

        assert_eq!(at(68)[0], table().lines(None)[0]);
        assert_eq!(
            at(67)[2],
            "a-name-that-is-long  12345  12:00:01  a text that is long, too"
        );
        assert_eq!(
            at(50)[2],
            "a-name-that-is-long  12345  12:00:01  a t…ong, too"
        );
        assert_eq!(
            at(49),
            [
                "NAME                 COUNT  ABOUT",
                "msg-1                    7  short",
                "a-name-that-is-long  12345  a text…t is long, too",
            ]
        );
        assert_eq!(at(39)[2], "a-name-that-is-long  a tex…is long, too");
    }

    #[test]
    fn an_id_is_never_cut() {
        for width in 1..33 {
            let last = &table().lines(Some(width))[2];
            assert_eq!(last, "a-name-that-is-long  a t…ong, too", "{width}");
        }
    }

    #[test]
    fn what_does_not_fit_at_all_is_shown_cell_by_cell() {
        assert_eq!(table().fitting(Some(33)), table().lines(Some(33)));
        assert_eq!(
            table().fitting(Some(32)),
            [
                "NAME   msg-1",
                "COUNT  7",
                "SINCE  12:00:00",
                "ABOUT  short",
                "",
                "NAME   a-name-that-is-long",
                "COUNT  12345",
                "SINCE  12:00:01",
                "ABOUT  a text that is long, too",
            ]
        );
    }
}
