//! Components that were uploaded, and their place in the configuration: the keys of a policy, changed in its text.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::config::Config;
use crate::files;
use crate::text::quoted;

/// Components that are kept besides those that the configuration names.
const KEPT: usize = 8;

/// Writes an uploaded component beside the state, or else beside the configuration, and removes the oldest that nothing
/// names any more.
pub(super) fn keep(config: &Config, base: &Path, digest: &str, bytes: &[u8]) -> std::io::Result<PathBuf> {
    let folder = config.state_directory.as_deref().unwrap_or(base).join("candidates");
    files::own_folder(&folder)?;
    let file = folder.join(format!("{digest}.wasm"));
    if !file.is_file() {
        files::replace(&file, bytes)?;
    }
    let named: Vec<&PathBuf> =
        config.policies.iter().flat_map(|policy| policy.file.iter().chain(&policy.shadow)).collect();
    let mut others: Vec<(SystemTime, PathBuf)> = std::fs::read_dir(&folder)?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "wasm") && *path != file && !named.contains(&path))
        .filter_map(|path| Some((path.metadata().ok()?.modified().ok()?, path)))
        .collect();
    others.sort();
    let surplus = others.len().saturating_sub(KEPT);
    others[..surplus].iter().for_each(|(_, path)| _ = std::fs::remove_file(path));
    Ok(file)
}

/// The text with these keys of a policy's table: a new value, or none. None where its table is not written as `[[policy]]`.
pub(super) fn with_keys(text: &str, policy: &str, keys: &[(&str, Option<String>)]) -> Option<String> {
    let lines: Vec<&str> = text.split('\n').collect();
    let is_header = |line: &str| line.trim_start().starts_with('[');
    let key_of = |line: &str| line.split_once('=').map(|(key, _)| key.trim().trim_matches(['"', '\'']).to_owned());
    let named = |line: &str| {
        let value = line.split_once('=').map(|(_, value)| value.split('#').next().unwrap_or_default().trim());
        key_of(line).as_deref() == Some("name") && value.is_some_and(|value| value.trim_matches(['"', '\'']) == policy)
    };
    let starts = (0..lines.len()).filter(|at| lines[*at].split('#').next().unwrap_or_default().trim() == "[[policy]]");
    let (name, range) = starts.into_iter().find_map(|start| {
        let rest = &lines[start + 1..];
        let end = start + 1 + rest.iter().position(|line| is_header(line)).unwrap_or(rest.len());
        let name = (start + 1..end).find(|at| named(lines[*at]))?;
        Some((name, start + 1..end))
    })?;
    let mut changed: Vec<String> = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let is_old = range.contains(&at)
            && !line.trim_start().starts_with('#')
            && key_of(line).is_some_and(|key| keys.iter().any(|(changed, _)| *changed == key));
        if !is_old {
            changed.push((*line).to_owned());
        }
        if at == name {
            let new =
                keys.iter().filter_map(|(key, value)| value.as_ref().map(|value| format!("{key} = {}", quoted(value))));
            changed.extend(new);
        }
    }
    Some(changed.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_a_policy_are_changed_and_nothing_else() {
        let text = "[[policy]]\nname = \"a\"\nfile = \"a.wasm\"\n\n[[policy]] # second\n# file = \"x\"\nasks = \"access\"\n\
                    name = 'b' # here\nshadow = \"c.wasm\"\n[policy.settings]\nfile = \"mine\"\n";
        let file = Some("new.wasm".to_owned());
        let changed = with_keys(text, "b", &[("file", file.clone()), ("shadow", None)]).unwrap();
        assert_eq!(
            changed,
            "[[policy]]\nname = \"a\"\nfile = \"a.wasm\"\n\n[[policy]] # second\n# file = \"x\"\nasks = \"access\"\n\
             name = 'b' # here\nfile = \"new.wasm\"\n[policy.settings]\nfile = \"mine\"\n"
        );
        let changed = with_keys(text, "a", &[("file", file)]).unwrap();
        assert!(changed.starts_with("[[policy]]\nname = \"a\"\nfile = \"new.wasm\"\n\n"), "{changed}");
        assert_eq!(with_keys(text, "c", &[]), None);
    }
}
