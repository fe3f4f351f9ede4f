//! What a drill is: script host, run, journal, reports.
