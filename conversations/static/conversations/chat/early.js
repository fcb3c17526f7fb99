// Runs before the first paint, so that nobody sees the page change its colours or its language.
document.documentElement.dataset.theme = localStorage.getItem("chat.theme") ?? "";
document.documentElement.lang =
  localStorage.getItem("chat.language") ?? (navigator.language.startsWith("ja") ? "ja" : "en");
