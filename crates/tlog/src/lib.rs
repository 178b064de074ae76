//! RFC 6962 Merkle trees and the C2SP tlog formats, without I/O.
