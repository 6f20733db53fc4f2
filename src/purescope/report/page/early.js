document.documentElement.className = "js";
try {
  const theme = localStorage.getItem("purescope-theme");
  if (theme) document.documentElement.dataset.theme = theme;
} catch { /* a browser that keeps nothing for files */ }
