const root = document.documentElement;
root.className = "js";
try {
  const theme = localStorage.getItem("purescope-theme");
  if (theme) root.dataset.theme = theme;
} catch { /* a browser that keeps nothing for files */ }
// Until the page's script has run, an error leaves the page as it is without scripts.
window.plainPage = () => {
  root.className = "";
  document.querySelector(".failed")?.removeAttribute("hidden");
};
addEventListener("error", window.plainPage);
addEventListener("unhandledrejection", window.plainPage);
