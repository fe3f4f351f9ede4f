//! The little of YAML that netplan files use: keys below keys by indentation. Not a YAML reader: what it does not follow is left out, and flow
//! style (`{…}`, `[…]`) is given as the text it is.

/// Most lines that are looked at.
const LINES_MAX: usize = 4096;

/// Each key with a value, as its path and the value's text: `network.ethernets.eth0.match.macaddress` and `52:54:…`. An item of a list has
/// the path of the list.
pub(super) fn entries(text: &str) -> Vec<(Vec<String>, String)> {
    let mut path: Vec<(usize, String)> = Vec::new();
    let mut found = Vec::new();
    for line in text.lines().take(LINES_MAX) {
        let line = line.split(" #").next().unwrap_or(line).trim_end();
        let mut body = line.trim_start_matches(' ');
        let mut indent = line.len().saturating_sub(body.len());
        if body.is_empty() || body.starts_with('#') || body == "---" {
            continue;
        }
        let mut in_list = false;
        while let Some(rest) = body.strip_prefix("- ") {
            // An item belongs to the key above it even at that key's own indentation.
            in_list = true;
            indent = indent.saturating_add(1);
            body = rest.trim_start();
        }
        path.retain(|(at, _)| *at < indent);
        let names = |path: &[(usize, String)]| path.iter().map(|(_, name)| name.clone()).collect::<Vec<_>>();
        match body
            .split_once(':')
            .filter(|(key, rest)| is_key(key) && (rest.is_empty() || rest.starts_with(' ')))
        {
            Some((key, value)) => {
                path.push((indent, key.trim_matches(['"', '\'']).to_string()));
                let value = value.trim().trim_matches(['"', '\'']);
                if !value.is_empty() {
                    found.push((names(&path), value.to_string()));
                }
            }
            None if in_list => found.push((names(&path), body.trim_matches(['"', '\'']).to_string())),
            None => {}
        }
    }
    found
}

fn is_key(text: &str) -> bool {
    !text.is_empty() && !text.contains(['{', '[', ' '])
}

#[cfg(test)]
mod tests {
    #[test]
    fn follows_keys_by_indentation() {
        let text = "# netplan\nnetwork:\n  version: 2\n  ethernets:\n    eth0: # the first\n      match:\n        macaddress: \"00:15:5d:01:02:03\"\n      addresses:\n      - 10.0.0.5/24\n      nameservers:\n        addresses: [10.0.0.1]\n    eth1:\n        dhcp4: true\n";
        let found = super::entries(text);
        let shown: Vec<String> =
            found.iter().map(|(path, value)| format!("{}={value}", path.join("."))).collect();
        assert_eq!(
            shown,
            [
                "network.version=2",
                "network.ethernets.eth0.match.macaddress=00:15:5d:01:02:03",
                "network.ethernets.eth0.addresses=10.0.0.5/24",
                "network.ethernets.eth0.nameservers.addresses=[10.0.0.1]",
                "network.ethernets.eth1.dhcp4=true",
            ]
        );
    }

    #[test]
    fn survives_anything() {
        for text in ["", ":", "- - - a", "\t\t:", "a:\n- b:\n  - c: d", "}{][", "x: {match: {macaddress: a}}"]
        {
            super::entries(text);
        }
    }
}
