//! What a directory says at a bind besides yes and no: problems of the account.
//!
//! Only what a server says after the right password may be told to the person, since everything else would tell strangers
//! which names exist.
//!
//! Pure.

use doorward_wire::ldap as ber;

/// Why somebody with the right password may not come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Problem {
    /// The password is too old.
    PasswordExpired,
    /// The password has to be changed before anything else, since somebody else has set it.
    MustChange,
    /// The account is locked, by somebody or after failed logins.
    Locked,
    /// The account is switched off.
    Disabled,
    /// The account is too old.
    Expired,
    /// Not at this time, or not from here.
    NotNow,
}

impl Problem {
    /// Its name in `account-help` and in the log.
    pub fn name(self) -> &'static str {
        match self {
            Self::PasswordExpired => "password-expired",
            Self::MustChange => "must-change",
            Self::Locked => "locked",
            Self::Disabled => "disabled",
            Self::Expired => "account-expired",
            Self::NotNow => "not-now",
        }
    }

    /// The sub-code of Active Directory (and Samba) in the text of a result 49, such as
    /// `80090308: LdapErr: DSID-0C090400, comment: AcceptSecurityContext error, data 532, v1db1`.
    ///
    /// 52e (wrong password) and 525 (no such user) are no problems of an account, and 775 (locked) comes for a wrong
    /// password too. The others come after the right one only.
    pub(super) fn of_active_directory(text: &str) -> Option<Self> {
        let (_, rest) = text.split_once("AcceptSecurityContext error, data ")?;
        let code = rest.split(|c: char| !c.is_ascii_alphanumeric()).next()?;
        match code.to_ascii_lowercase().as_str() {
            "530" | "531" => Some(Self::NotNow),
            "532" => Some(Self::PasswordExpired),
            "533" => Some(Self::Disabled),
            "701" => Some(Self::Expired),
            "773" => Some(Self::MustChange),
            _ => None,
        }
    }

    /// The error in a password policy response (draft-behera-ldap-password-policy, section 6.2), which comes with results 0
    /// and 49. `accountLocked` (1) comes for a wrong password too, and the rest of the errors is about changing passwords.
    pub(super) fn of_policy(value: &[u8]) -> Option<Self> {
        let (0x30, mut fields, _) = ber::element(value)? else { return None };
        while let Some((tag, contents, rest)) = ber::element(fields) {
            match (tag, contents) {
                (0x81, [0]) => return Some(Self::PasswordExpired),
                (0x81, [2]) => return Some(Self::MustChange),
                _ => fields = rest,
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sub_codes_of_active_directory_are_known() {
        let text = |code: &str| {
            format!("80090308: LdapErr: DSID-0C090400, comment: AcceptSecurityContext error, data {code}, v1db1\0")
        };
        let check = |code: &str, problem| assert_eq!(Problem::of_active_directory(&text(code)), problem, "{code}");
        check("52e", None);
        check("525", None);
        check("775", None);
        check("530", Some(Problem::NotNow));
        check("531", Some(Problem::NotNow));
        check("532", Some(Problem::PasswordExpired));
        check("533", Some(Problem::Disabled));
        check("701", Some(Problem::Expired));
        check("773", Some(Problem::MustChange));
        assert_eq!(Problem::of_active_directory("data 532"), None);
        assert_eq!(Problem::of_active_directory(""), None);
    }

    #[test]
    fn a_policy_response_is_read_and_nonsense_is_nothing() {
        assert_eq!(Problem::of_policy(&[0x30, 0x03, 0x81, 0x01, 0x00]), Some(Problem::PasswordExpired));
        assert_eq!(Problem::of_policy(&[0x30, 0x03, 0x81, 0x01, 0x01]), None, "locked, whatever the password");
        // Seconds until it expires, and then an error.
        let both = [0x30, 0x08, 0xa0, 0x03, 0x80, 0x01, 0x3c, 0x81, 0x01, 0x02];
        assert_eq!(Problem::of_policy(&both), Some(Problem::MustChange));
        for nonsense in [&[][..], &[0x30], &[0x30, 0x00], &[0x30, 0x05, 0x81], &[0x04, 0x01, 0x00], &both[..6]] {
            assert_eq!(Problem::of_policy(nonsense), None);
        }
    }
}
