//! Shared vocabulary and seams of the depin SDK: DIDs, keys, COSE envelopes, readings, amounts, traits.
