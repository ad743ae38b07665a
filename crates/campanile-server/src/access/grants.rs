//! From groups to rights: a list of `GROUP=ROLE`, of which the first counts that somebody is in. Whoever is in none gets
//! nothing.

use campanile_login::{Rights, Role, Scope};

/// Entries of one list.
const GRANTS_MAX: usize = 500;
/// How one is written.
const SAMPLE: &str = "write GROUP=ROLE, ROLE+data to let them see payloads and logs, and @ with a scope to let them into a \
                      part alone: billing-ops=operator+data@owner:finance;prefix:bill-";

/// Which groups get which rights, in the order in which they are looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants(Vec<(String, Rights)>);

impl Grants {
    /// Reads a setting.
    ///
    /// # Errors
    /// An entry that can't be read.
    pub fn read(parts: &[String]) -> Result<Self, String> {
        if parts.len() > GRANTS_MAX {
            return Err(format!(
                "has {} entries: write {GRANTS_MAX} at most",
                parts.len()
            ));
        }
        let one = |part: &String| {
            // A group may be called `CN=ops,OU=it`.
            let (group, rights) = part.rsplit_once('=').unwrap_or((part, ""));
            let (group, rights) = match part.split_once('@') {
                // In a scope there is no `=`, and in a group there may be an `@`.
                Some((head, scope)) if !scope.contains('=') => {
                    let (group, role) = head.rsplit_once('=').unwrap_or((head, ""));
                    (group, format!("{role}@{scope}"))
                }
                _ => (group, rights.to_owned()),
            };
            if group.trim().is_empty() {
                return Err(format!("`{part}` names no group: {SAMPLE}"));
            }
            let rights = read_rights(&rights).map_err(|e| format!("`{part}`: {e}"))?;
            Ok((group.trim().to_owned(), rights))
        };
        parts
            .iter()
            .map(one)
            .collect::<Result<_, String>>()
            .map(Self)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The rights of who is in these groups.
    #[must_use]
    pub fn of(&self, groups: &[String]) -> Option<&Rights> {
        let found = self.0.iter().find(|(group, _)| groups.contains(group));
        found.map(|(_, rights)| rights)
    }

    /// Those of the groups that count for anything, in the order of the setting.
    pub fn known<'a>(&'a self, groups: &'a [String]) -> impl Iterator<Item = &'a String> {
        self.0
            .iter()
            .map(|(group, _)| group)
            .filter(|group| groups.contains(group))
    }
}

/// Reads rights as they are written in settings: `operator+data@owner:finance;prefix:bill-`.
///
/// # Errors
/// What can't be read, with a sample.
pub fn read_rights(text: &str) -> Result<Rights, String> {
    let (role, scope) = text
        .split_once('@')
        .map_or((text, None), |(role, scope)| (role, Some(scope)));
    let (role, data) = match role.split_once('+') {
        Some((role, "data")) => (role, true),
        Some(_) => return Err(format!("after + stands data, and nothing else: {SAMPLE}")),
        None => (role, false),
    };
    let role: Role = role.trim().parse().map_err(|e| format!("{e}; {SAMPLE}"))?;
    let rights = Rights::of(role).with_data(data);
    let Some(scope) = scope else {
        return Ok(rights);
    };
    let entries: Vec<&str> = scope.split(';').map(str::trim).collect();
    let scope = Scope::of(&entries).map_err(|e| e.message)?;
    Ok(rights.within(scope))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(parts: &[&str]) -> Result<Grants, String> {
        let parts: Vec<String> = parts.iter().map(|p| (*p).to_owned()).collect();
        Grants::read(&parts)
    }

    #[test]
    fn the_first_group_of_the_list_counts() {
        let grants = read(&[
            "admins=admin+data",
            "CN=ops,OU=it=operator@owner:finance;prefix:bill-",
            "it@acme.example=editor",
            "all = viewer",
        ])
        .unwrap();
        let of = |groups: &[&str]| {
            let groups: Vec<String> = groups.iter().map(|g| (*g).to_owned()).collect();
            grants.of(&groups).map(ToString::to_string)
        };
        assert_eq!(
            of(&["all", "admins"]).as_deref(),
            Some("admin with data, everywhere")
        );
        assert_eq!(of(&["all"]).as_deref(), Some("viewer, everywhere"));
        assert_eq!(
            of(&["CN=ops,OU=it"]).as_deref(),
            Some("operator, within prefix:bill- or owner:finance")
        );
        assert_eq!(
            of(&["it@acme.example"]).as_deref(),
            Some("editor, everywhere")
        );
        assert_eq!(of(&["admin", "Admins", ""]), None);
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn what_can_not_be_read_is_refused_with_a_sample() {
        for part in [
            "",
            "admins",
            "=admin",
            "a=root",
            "a=admin+all",
            "a=admin+",
            "a=admin@",
            "a=admin@x:y",
        ] {
            let said = read(&[part]).unwrap_err();
            assert!(said.contains("write"), "{part}: {said}");
        }
        assert!(read(&vec!["a=viewer"; 501]).unwrap_err().contains("501"));
    }
}
