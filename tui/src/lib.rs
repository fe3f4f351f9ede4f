//! A view of a run: reads events and artifacts, sends commands.
