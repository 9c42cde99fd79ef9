//! Lines with holes, for what nobody knows beforehand: ports, and the numbers of descriptors.
//!
//! A hole stands for a run of letters and digits. `{}` is any. `{port}` is any when it is met first, and the same from then on.

use std::collections::BTreeMap;

/// What the named holes have turned out to be.
#[derive(Default)]
pub(crate) struct Known(BTreeMap<String, String>);

impl Known {
    /// Remembers what this hole stands for.
    pub(crate) fn learn(&mut self, name: &str, value: String) {
        self.0.insert(name.into(), value);
    }

    /// The names of the holes in a text that are not known yet.
    pub(crate) fn unknown<'a>(&self, text: &'a str) -> impl Iterator<Item = &'a str> {
        let names = text.split('{').skip(1).filter_map(|piece| piece.split_once('}')).map(|(name, _)| name);
        names.filter(|name| !self.0.contains_key(*name))
    }

    /// The text with its holes filled, with `default` where nothing is known.
    pub(crate) fn fill(&self, text: &str, default: &str) -> String {
        let mut pieces = text.split('{');
        let mut filled = pieces.next().unwrap_or_default().to_owned();
        for piece in pieces {
            let (name, behind) = piece.split_once('}').unwrap_or((piece, ""));
            filled += self.0.get(name).map_or(default, String::as_str);
            filled += behind;
        }
        filled
    }

    /// Whether a line is one that `pattern` describes. Then it is known what its holes stand for.
    pub(crate) fn learn_from(&mut self, line: &str, pattern: &str) -> bool {
        let learnt = self.matched(line, pattern);
        let matches = learnt.is_some();
        self.0 = learnt.unwrap_or_else(|| std::mem::take(&mut self.0));
        matches
    }

    fn matched(&self, line: &str, pattern: &str) -> Option<BTreeMap<String, String>> {
        let mut known = self.0.clone();
        let mut pieces = pattern.split('{');
        let mut rest = line.strip_prefix(pieces.next()?)?;
        for piece in pieces {
            let (name, literal) = piece.split_once('}')?;
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
            let (value, behind) = rest.split_at_checked(end).filter(|(value, _)| !value.is_empty())?;
            if !name.is_empty() && known.entry(name.into()).or_insert_with(|| value.into()) != value {
                return None;
            }
            rest = behind.strip_prefix(literal)?;
        }
        rest.is_empty().then_some(known)
    }
}

#[cfg(test)]
mod tests {
    use super::Known;

    #[test]
    fn a_hole_is_a_word_and_the_same_from_then_on() {
        let mut known = Known::default();
        let table = [
            ("hello", "hello", true),
            ("hello", "hello you", false),
            ("on {}:{port}", "on localhost:8001", true),
            ("on {}:{port}", "on 127:8001", true),
            ("on {}:{port}", "on localhost:8002", false),
            ("port {port} and {port}", "port 8001 and 8001", true),
            ("port {port}", "port ", false),
            ("port {port}.", "port 8001", false),
            ("{new} {new}", "a b", false),
            ("{new} {new}", "b b", true),
            ("({}, {})", "(a, b-c)", false),
        ];
        for (pattern, line, wanted) in table {
            assert_eq!(known.learn_from(line, pattern), wanted, "{line:?} for {pattern:?}");
        }
        assert_eq!(known.fill("{new}:{port}{other}!", "0"), "b:80010!");
        assert_eq!(known.unknown("{other} {port} {more}").collect::<Vec<_>>(), ["other", "more"]);
    }
}
