//! What is wrong with the fields of a request: all of it, so that its caller need not mend one after the other.

use std::borrow::Cow;
use std::fmt;

/// Fields that are named at most.
const MOST: usize = 16;

/// Fields that are wrong, in the order in which they were looked at; one at least.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violations(Vec<Violation>);

/// A field that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) field: Cow<'static, str>,
    pub(crate) problem: String,
}

impl Violations {
    /// One field is.
    pub(crate) fn one(field: Cow<'static, str>, problem: String) -> Self {
        Self(vec![Violation { field, problem }])
    }

    /// These too. Of one field, what was found first is said.
    pub(crate) fn add(&mut self, more: Self) {
        for violation in more.0 {
            let is_named = self.0.iter().any(|it| it.field == violation.field);
            if !is_named && self.0.len() < MOST {
                self.0.push(violation);
            }
        }
    }

    /// All of them are fields of what stands in this field.
    pub(crate) fn stand_in(&mut self, outer: &str) {
        for Violation { field, .. } in &mut self.0 {
            *field = format!("{outer}.{field}").into();
        }
    }

    /// Each of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Violation> {
        self.0.iter()
    }
}

impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, Violation { field, problem }) in self.0.iter().enumerate() {
            let before = if number > 0 { "; " } else { "" };
            write!(f, "{before}{field}: {problem}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(field: &'static str) -> Violations {
        Violations::one(field.into(), "is wrong".to_owned())
    }

    #[test]
    fn all_are_said_in_order_each_field_once() {
        let mut all = one("a");
        all.add(one("b"));
        all.add(Violations::one("a".into(), "again".to_owned()));
        all.stand_in("requests[3]");

        let said = "requests[3].a: is wrong; requests[3].b: is wrong";
        assert_eq!(all.to_string(), said);
    }

    #[test]
    fn there_are_so_many_at_most() {
        let mut all = one("first");
        for number in 0..100 {
            let mut more = one("field");
            more.stand_in(&format!("list[{number}]"));
            all.add(more);
        }

        assert_eq!(all.iter().count(), MOST);
    }
}
