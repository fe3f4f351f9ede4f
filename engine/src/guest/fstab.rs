//! Mount points by the names a conversion could change. fstab(5).

/// One line of `/etc/fstab`: what, where.
pub(crate) struct Mount {
    pub source: String,
    pub target: String,
}

/// Most lines that are looked at.
const LINE_MAX: usize = 1024;

pub(crate) fn parse(text: &str) -> Vec<Mount> {
    text.lines()
        .take(LINE_MAX)
        .filter_map(|line| {
            let line = line.trim();
            if line.starts_with('#') {
                return None;
            }
            let mut fields = line.split_whitespace();
            let source = fields.next()?.trim_matches('"').replace("=\"", "=");
            Some(Mount { source, target: fields.next()?.to_string() })
        })
        .collect()
}
