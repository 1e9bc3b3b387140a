//! `comfygate run` as a process against the simulator: what it sends, what it keeps, what it says, how it ends.

mod checked;
mod desk;
mod ended;
mod given;
mod own;
mod shown;
mod taken_back;
