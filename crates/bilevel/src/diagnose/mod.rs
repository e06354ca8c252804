//! Checks of derivatives and estimates of constants.
