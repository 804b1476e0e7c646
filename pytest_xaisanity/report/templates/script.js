(function () {
  "use strict";
  var claims = document.querySelectorAll("[data-outcome]");
  var explainer = document.getElementById("explainer");
  var words = document.getElementById("words");
  var count = document.getElementById("count");
  function filter() {
    var wanted = words.value.trim().toLowerCase();
    var articles = 0;
    claims.forEach(function (claim) {
      var named = !explainer.value || claim.dataset.explainer === explainer.value;
      claim.hidden = !(named && (!wanted || claim.textContent.toLowerCase().indexOf(wanted) >= 0));
      if (claim.localName === "article" && getComputedStyle(claim).display !== "none") { articles += 1; }
    });
    count.textContent = articles + " shown";
  }
  document.querySelector(".filters").addEventListener("submit", function (event) { event.preventDefault(); });
  document.querySelector(".filters").addEventListener("input", filter);
  document.getElementById("theme").addEventListener("click", function () {
    var root = document.documentElement;
    var dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });
  document.querySelectorAll(".scripted").forEach(function (one) { one.hidden = false; });
})();
