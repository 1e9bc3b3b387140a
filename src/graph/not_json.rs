//! What a person may do about a text that is not JSON, told by where and why the reader stopped.

/// Returns how to mend it. `line` and `column` are the reader's, from 1, `reason` its words.
pub(super) fn mend(text: &str, line: usize, column: usize, reason: &str) -> &'static str {
    if reason.starts_with("recursion limit") {
        return "values stand inside each other deeper than in any workflow";
    }
    if reason.starts_with("trailing comma") {
        return "take away the comma behind the last one";
    }
    let here = from(text, line, column);
    if here.iter().any(|rest| ["NaN", "Infinity", "-Infinity"].iter().any(|word| rest.starts_with(word))) {
        return "JSON has no `NaN` and no `Infinity`: write a number";
    }
    if here.iter().any(|rest| rest.starts_with("//") || rest.starts_with("/*") || rest.starts_with('#')) {
        return "JSON has no comments: take them out";
    }
    if here.iter().any(|rest| rest.starts_with('\'')) {
        return "JSON has its texts in double quotes";
    }
    "is the file complete?"
}

/// Returns what stands where the reader stopped, which is at a letter, at its end, or one behind.
fn from(text: &str, line: usize, column: usize) -> Vec<&str> {
    let Some(line) = text.lines().nth(line.saturating_sub(1)) else { return Vec::new() };
    (column.saturating_sub(2)..=column).filter_map(|at| line.get(at..)).collect()
}

#[cfg(test)]
mod tests {
    use crate::graph::Graph;

    #[test]
    fn what_is_no_json_is_told_with_what_to_do() {
        let deep = format!("{}{}", "[".repeat(500), "]".repeat(500));
        let cases = [
            (r#"{"1": {"inputs": {"cfg": NaN}}}"#, "JSON has no `NaN`"),
            (r#"{"1": {"inputs": {"cfg": -Infinity}}}"#, "JSON has no `NaN`"),
            (r#"{"1": {"inputs": {"cfg":Infinity}}}"#, "no `Infinity`: write a number"),
            ("// my graph\n{}", "JSON has no comments"),
            ("{\n  # my graph\n  \"1\": {}}", "JSON has no comments"),
            ("{'1': {}}", "double quotes"),
            (r#"{"1": {},}"#, "take away the comma"),
            (&deep, "inside each other deeper"),
            (r#"{"1": {"#, "is the file complete?"),
            ("{\"1\": \"äöü", "is the file complete?"),
            ("", "is the file complete?"),
        ];
        for (text, says) in cases {
            let error = Graph::parse(text).unwrap_err().to_string();
            assert!(error.starts_with("not valid JSON: ") && error.contains(says), "{text:.60}: {error}");
        }
    }
}
