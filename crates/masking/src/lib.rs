//! What must not be seen: detectors, operators, streaming masker.
