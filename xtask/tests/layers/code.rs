//! Rust source as tokens, and the paths in them: enough to see which file names which.

/// One name that a `use` brings into a file.
pub(crate) struct Use {
    /// Whether the file hands the name on.
    pub(crate) reexport: bool,
    pub(crate) name: String,
    pub(crate) path: Vec<String>,
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// The length of the comment, string or character that `code` begins with, if it does.
fn skipped(code: &str) -> Option<usize> {
    if code.starts_with("//") {
        return Some(code.find('\n').unwrap_or(code.len()));
    }
    if code.starts_with("/*") {
        let (mut depth, mut at) = (1, 2);
        while depth > 0 && at < code.len() {
            let rest = &code.as_bytes()[at..];
            let (change, step) = match rest {
                [b'/', b'*', ..] => (1, 2),
                [b'*', b'/', ..] => (-1, 2),
                _ => (0, 1),
            };
            depth += change;
            at += step;
        }
        return Some(at);
    }
    let hashes = code.strip_prefix('r').map(|rest| {
        let bare = rest.trim_start_matches('#');
        (rest.len() - bare.len(), bare.starts_with('"'))
    });
    if let Some((hashes, true)) = hashes {
        let end = format!("\"{}", "#".repeat(hashes));
        let start = hashes + 2;
        return Some(start + code[start..].find(&end).unwrap() + end.len());
    }
    let quote = code.chars().next()?;
    if quote == '"' {
        let bytes = code.as_bytes();
        let mut at = 1;
        while bytes[at] != b'"' {
            at += if bytes[at] == b'\\' { 2 } else { 1 };
        }
        return Some(at + 1);
    }
    if quote == '\'' {
        let mut chars = code.char_indices().skip(1);
        let (_, first) = chars.next()?;
        if first == '\\' {
            let escaped = chars.next()?.0 + 1;
            return Some(escaped + code[escaped..].find('\'')? + 1);
        }
        let (at, next) = chars.next()?;
        return Some(if next == '\'' { at + 1 } else { 1 });
    }
    None
}

/// The tokens of `code` without comments, strings, and what only tests compile; a `super` that does not leave the
/// file is a `self`.
pub(crate) fn tokens(code: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = code;
    while let Some(first) = rest.chars().next() {
        let length = if let Some(length) = skipped(rest) {
            rest = &rest[length..];
            continue;
        } else if is_name(rest) {
            rest.find(|c: char| !(c.is_alphanumeric() || c == '_'))
                .unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        if !first.is_whitespace() {
            found.push(&rest[..length]);
        }
        rest = &rest[length..];
    }
    inside_file(without_tests(&found))
}

/// Where the bracket at `start` closes, one past it.
fn closed(tokens: &[&str], start: usize) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(start) {
        match *token {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    tokens.len()
}

/// `tokens` without the items under `#[cfg(test)]`.
fn without_tests<'a>(tokens: &[&'a str]) -> Vec<&'a str> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if !tokens[at..].starts_with(&["#", "[", "cfg", "(", "test", ")", "]"]) {
            found.push(tokens[at]);
            at += 1;
            continue;
        }
        at += 7;
        while tokens[at] == "#" {
            at = closed(tokens, at + 1);
        }
        // An item ends with its block, a `use` or a declaration with its semicolon.
        let semicolon = (tokens[at..].iter())
            .take_while(|token| **token != "{")
            .any(|token| *token == "use");
        loop {
            match tokens[at] {
                ";" => {
                    at += 1;
                    break;
                }
                "{" if !semicolon => {
                    at = closed(tokens, at);
                    break;
                }
                "(" | "[" | "{" => at = closed(tokens, at),
                _ => at += 1,
            }
        }
    }
    found
}

/// `tokens` with the paths in modules within the file as the file itself would write them.
fn inside_file(mut tokens: Vec<&str>) -> Vec<&str> {
    // How deep in brackets the modules begin that are open.
    let (mut modules, mut depth) = (Vec::new(), 0_usize);
    for at in 0..tokens.len() {
        match tokens[at] {
            "{" => {
                if at > 1 && tokens[at - 2] == "mod" {
                    modules.push(depth);
                }
                depth += 1;
            }
            "}" => {
                depth -= 1;
                modules.pop_if(|begun| *begun == depth);
            }
            "super" if tokens[..at].last() != Some(&"::") => {
                let (mut next, mut open) = (at, modules.len());
                while open > 0 && tokens.get(next) == Some(&"super") {
                    tokens[next] = "self";
                    (next, open) = (next + 2, open - 1);
                }
            }
            _ => {}
        }
    }
    tokens
}

/// The names that the `use`s in `tokens` bring.
pub(crate) fn uses(tokens: &[&str]) -> Vec<Use> {
    let mut found = Vec::new();
    for start in (0..tokens.len()).filter(|at| tokens[*at] == "use") {
        let before = start.checked_sub(1).map(|before| tokens[before]);
        let reexport = matches!(before, Some("pub" | ")"));
        tree(&tokens[start + 1..], &mut Vec::new(), reexport, &mut found);
    }
    found
}

/// Reads one branch of a `use`, below the path `above`; what is left of `tokens` after it.
fn tree<'a, 'b>(
    mut tokens: &'b [&'a str],
    above: &mut Vec<String>,
    reexport: bool,
    found: &mut Vec<Use>,
) -> &'b [&'a str] {
    let depth = above.len();
    loop {
        match tokens[0] {
            "{" => {
                tokens = &tokens[1..];
                while tokens[0] != "}" {
                    tokens = tree(tokens, above, reexport, found);
                    if tokens[0] == "," {
                        tokens = &tokens[1..];
                    }
                }
                above.truncate(depth);
                return &tokens[1..];
            }
            "::" => tokens = &tokens[1..],
            "as" => {
                let path = above.clone();
                above.truncate(depth);
                let name = tokens[1].to_owned();
                found.push(Use {
                    reexport,
                    name,
                    path,
                });
                return &tokens[2..];
            }
            "," | "}" | ";" => {
                let path = above.clone();
                above.truncate(depth);
                let name = path.last().unwrap().clone();
                found.push(Use {
                    reexport,
                    name,
                    path,
                });
                return tokens;
            }
            // `{self}` is the module that the group is of.
            "self" if depth > 0 => tokens = &tokens[1..],
            segment => {
                above.push(segment.to_owned());
                tokens = &tokens[1..];
            }
        }
    }
}

/// The paths in `tokens` outside of `use`.
pub(crate) fn paths(tokens: &[&str]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at] == "use" {
            at += tokens[at..].iter().position(|token| *token == ";").unwrap();
        }
        let follows = at > 0 && matches!(tokens[at - 1], "::" | "." | "mod");
        if follows || !is_name(tokens[at]) {
            at += 1;
            continue;
        }
        let mut path = vec![tokens[at].to_owned()];
        at += 1;
        while at + 1 < tokens.len() && tokens[at] == "::" && is_name(tokens[at + 1]) {
            path.push(tokens[at + 1].to_owned());
            at += 2;
        }
        // One small word is most often a variable, unless it is called.
        let is_variable = path.len() == 1 && path[0].starts_with(char::is_lowercase);
        if !is_variable || tokens.get(at) == Some(&"(") {
            found.push(path);
        }
    }
    found
}
