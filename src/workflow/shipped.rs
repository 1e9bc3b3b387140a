//! The workflows that come with the program; the same files lie in the project's `configs/` and `templates/`.

/// A workflow's two files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shipped {
    /// The workflow's name.
    pub name: &'static str,
    /// The YAML text.
    pub config: &'static str,
    /// The JSON text.
    pub template: &'static str,
}

/// All of them.
pub const PAIRS: [Shipped; 3] = [
    Shipped {
        name: "canvas",
        config: include_str!("../../configs/canvas.yaml"),
        template: include_str!("../../templates/canvas.json"),
    },
    Shipped {
        name: "flux",
        config: include_str!("../../configs/flux.yaml"),
        template: include_str!("../../templates/flux.json"),
    },
    Shipped {
        name: "starter",
        config: include_str!("../../configs/starter.yaml"),
        template: include_str!("../../templates/starter.json"),
    },
];
