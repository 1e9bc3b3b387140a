// Sets the theme that was chosen here before, ahead of the first paint. The only script that is no module, so that it may block.
try {
  const theme = JSON.parse(localStorage.getItem("comfygate.theme"));
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // Storage may be forbidden or odd; the theme is the system's then.
}
