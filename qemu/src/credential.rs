//! A file that a guest writes by itself at its start, without anybody logging in: systemd (252 and later) takes credentials from OEM
//! strings of the firmware's tables, and `systemd-tmpfiles` takes lines of its configuration from the credential `tmpfiles.extra`.
//! (systemd.system-credentials(7), tmpfiles.d(5), SMBIOS 3.6 §7.12.)

use crate::base64;

/// The first systemd that does it.
pub const SINCE_SYSTEMD: u32 = 252;
/// Longest text of such a file, characters.
pub const MAX_TEXT: usize = 200;

/// The OEM string by which the guest writes `text` into `path`, over what is there. `None` when the text is empty, longer than
/// [`MAX_TEXT`], begins or ends with a blank, or has a character that tmpfiles.d(5) would not take as it is.
pub fn file_credential(path: &str, text: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || " ._:+@=,/-".contains(c);
    let good = !text.is_empty() && text.len() <= MAX_TEXT && text.chars().all(plain) && text.trim() == text;
    let line = format!("f+ {path} 0644 root root - {text}\n");
    good.then(|| format!("io.systemd.credential.binary:tmpfiles.extra={}", base64::encode(line.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::file_credential;

    #[test]
    fn a_credential_is_what_systemd_reads_and_other_texts_are_refused() {
        // printf 'f+ /m 0644 root root - a b\n' | base64
        let wanted = "io.systemd.credential.binary:tmpfiles.extra=ZisgL20gMDY0NCByb290IHJvb3QgLSBhIGIK";
        assert_eq!(file_credential("/m", "a b").as_deref(), Some(wanted));
        for bad in ["", " a", "100%", "a\\b", "a\nb", "\u{e4}", &"x".repeat(201)] {
            assert_eq!(file_credential("/m", bad), None, "{bad:?}");
        }
    }
}
