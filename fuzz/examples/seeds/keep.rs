//! Which inputs to keep: the seeds, for sound images say most about what must be read; then those that together reach all that is reached, the
//! most telling ones first; and no more than a few.

use std::collections::HashSet;
use std::path::Path;

/// Most inputs of one target that are kept.
const INPUTS_MAX: usize = 120;

/// Copy inputs into `folder`, in the place of what is in it. `control` is what libFuzzer's `-merge_control_file` wrote: the number of files, how many of
/// them are in the first folder, their names; then for each a line `FT index feature…`.
pub fn keep(control: &Path, folder: &Path) {
    let text = std::fs::read_to_string(control).expect("a control file");
    let mut lines = text.lines();
    let count: usize = lines.next().and_then(|l| l.parse().ok()).expect("the number of files");
    let names: Vec<&str> = lines.by_ref().skip(1).take(count).collect();
    let mut inputs: Vec<(&str, HashSet<u32>)> = Vec::new();
    for line in lines {
        let Some(rest) = line.strip_prefix("FT ") else { continue };
        let mut numbers = rest.split(' ').map(|n| n.parse().expect("a number"));
        let name = numbers.next().and_then(|i: u32| names.get(i as usize)).expect("a file");
        if std::fs::metadata(name).is_ok_and(|m| m.len() <= crate::INPUT_MAX as u64) {
            inputs.push((name, numbers.collect()));
        }
    }
    // What is in the folder may itself be kept.
    let new = folder.with_extension("new");
    std::fs::create_dir_all(&new).expect("a folder");
    let copy = |name: &str| {
        let name = Path::new(name);
        std::fs::copy(name, new.join(name.file_name().expect("a name"))).expect("a copy");
    };
    let (mut reached, mut kept) = (HashSet::new(), 0);
    let is_seed = |name: &str| name.contains("/seeds/") && !name.ends_with("-repaired");
    for (name, features) in inputs.iter().filter(|(name, _)| is_seed(name)) {
        reached.extend(features);
        copy(name);
        kept += 1;
    }
    while kept < INPUTS_MAX {
        // The first of equals: files come in the order of their folders, those with a name of their own before what was found.
        let best = inputs.iter().rev().max_by_key(|(_, features)| features.difference(&reached).count());
        let Some((name, features)) = best.filter(|(_, f)| !f.is_subset(&reached)) else { break };
        reached.extend(features);
        copy(name);
        kept += 1;
    }
    let _ = std::fs::remove_dir_all(folder);
    std::fs::rename(&new, folder).expect("a new name");
    println!("{}: {kept} of {} inputs, {} features", folder.display(), inputs.len(), reached.len());
}
