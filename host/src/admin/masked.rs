//! A configuration without its secrets, and with them again.
//!
//! Pure.

/// What stands for a secret.
const MASK: &str = "********";

/// Keys whose values are secrets where they stand in the configuration itself; `…-file` names a file and is none.
const SECRET: [&str; 5] = ["password", "secret", "token", "passphrase", "credential"];

/// The text with a mask in the place of each secret.
pub(super) fn mask(text: &str) -> String {
    let line = |line: &str| match secret(line) {
        Some((key, _)) => format!("{key}= \"{MASK}\""),
        None => without_userinfo(line),
    };
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

/// The text with the secrets of the old one in the place of masks: the first mask of a key is its first secret.
///
/// # Errors
/// A mask for which there is no secret.
pub(super) fn unmask(text: &str, old: &str) -> Result<String, String> {
    let mut secrets: Vec<(&str, &str)> = old.split('\n').filter_map(secret).collect();
    let mut lines = Vec::new();
    for line in text.split('\n') {
        let Some((key, _)) = secret(line).filter(|_| line.contains(MASK)) else {
            lines.push(with_userinfo(line, old));
            continue;
        };
        let found = secrets.iter().position(|(known, _)| known.trim() == key.trim());
        let Some(found) = found else { return Err(format!("{}is masked, and had no value before: write it", key)) };
        lines.push(format!("{key}={}", secrets.remove(found).1));
    }
    Ok(lines.join("\n"))
}

/// The key of a line, with the blanks around it, and its value, where that is a secret.
fn secret(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once('=')?;
    let name = key.trim().trim_start_matches('#').trim().to_ascii_lowercase();
    let name = name.trim_matches(['"', '\'']).rsplit('.').next().unwrap_or_default();
    let is_text = value.trim_start().starts_with(['"', '\'']);
    let is_secret = SECRET.iter().any(|word| name.contains(word)) && !name.ends_with("-file");
    (is_text && is_secret).then_some((key, value))
}

/// A URL's user and password are hidden: `https://user:password@host` shows as `https://********@host`.
fn without_userinfo(line: &str) -> String {
    match userinfo(line) {
        Some((start, end)) => format!("{}{MASK}{}", &line[..start], &line[end..]),
        None => line.to_owned(),
    }
}

/// Puts user and password back, of the old line that is the same with its mask.
fn with_userinfo(line: &str, old: &str) -> String {
    if !line.contains(MASK) {
        return line.to_owned();
    }
    let found = old.split('\n').find(|old| without_userinfo(old) == line);
    found.unwrap_or(line).to_owned()
}

/// Where in a line the user and password of a URL are.
fn userinfo(line: &str) -> Option<(usize, usize)> {
    let start = line.find("://")? + 3;
    let end = start + line[start..].find(['/', '"', '\'', ' ', '?', '#']).unwrap_or(line.len() - start);
    let at = start + line[start..end].rfind('@')?;
    Some((start, at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_and_come_back() {
        let old = "a = 1\npassword = \"hush\"\nbind-password-file = \"x.secret\"\n[b]\n\"api-token\" = 'tic'\n\
                   url = \"https://user:pass@log.test/x\"\npassword = \"two\"";
        let masked = mask(old);
        for secret in ["hush", "tic", "pass@", "two"] {
            assert!(!masked.contains(secret), "{masked}");
        }
        assert!(masked.contains("x.secret") && masked.contains("@log.test/x"));
        assert_eq!(unmask(&masked, old).unwrap(), old);
        assert_eq!(unmask("password = \"new\"", old).unwrap(), "password = \"new\"");
        assert!(unmask("token = \"********\"", old).is_err());
    }
}
