//! Promise: to come.
