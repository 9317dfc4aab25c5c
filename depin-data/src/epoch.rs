//! Epochs: ranges of the log, judged and sealed.
