const root = document.documentElement;
root.className = "js";
try {
  const theme = localStorage.getItem("purescope-theme");
  if (theme) root.dataset.theme = theme;
} catch { /* the browser stores nothing for files */ }
// An error before the end of the page's script turns the page back into the one without scripts.
window.plainPage = () => {
  root.className = "";
  document.querySelector(".failed")?.removeAttribute("hidden");
};
addEventListener("error", window.plainPage);
addEventListener("unhandledrejection", window.plainPage);
