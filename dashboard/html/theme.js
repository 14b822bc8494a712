// Day or night: the officer's choice when there is one, else by the hour. Streamlit reads its theme
// from one key per page path.
(function () {
  const paths = ["/", "/events", "/help", "/cases", "/rumours", "/reviews", "/admin"];
  const asked = new URLSearchParams(location.search).get("to");
  if (location.pathname === "/theme" && ["light", "dark", "auto"].includes(asked)) {
    localStorage.setItem("tingfeng.theme", asked);
  }
  const choice = localStorage.getItem("tingfeng.theme") || "auto";
  const hour = Number(new Date().toLocaleString("en-GB", {hour: "2-digit", hour12: false, timeZone: "Asia/Shanghai"}));
  const night = choice === "dark" || (choice === "auto" && (hour >= 19 || hour < 7));
  document.documentElement.dataset.theme = night ? "dark" : "light";
  for (const path of paths) {
    localStorage.setItem(`stActiveTheme-${path}-v2`, JSON.stringify(night ? "Dark" : "Light"));
  }
  if (location.pathname === "/theme") {
    const back = document.referrer && new URL(document.referrer).origin === location.origin
      ? new URL(document.referrer).pathname + new URL(document.referrer).search : "/";
    location.replace(back === "/theme" ? "/" : back);
  }
})();
