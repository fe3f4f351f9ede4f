//! One virtual machine: start it, watch it, judge how far it came.
