// Shows the dialogs, follows the theme of Airflow's UI, and opens links in it. Everything else works without this script.
"use strict";

(() => {
  // In Airflow's UI, this page is in a frame of the same origin. Elsewhere, the browser's own preference counts.
  let outside = null;
  try {
    outside = window.parent !== window && window.parent.document ? window.parent.document : null;
  } catch {
    outside = null;
  }

  if (outside) {
    const follow = () => {
      const dark = outside.documentElement.classList.contains("dark");
      document.documentElement.dataset.theme = dark ? "dark" : "light";
    };
    follow();
    new MutationObserver(follow).observe(outside.documentElement, { attributeFilter: ["class"] });
    // The frame may not navigate the page around it, and that page may navigate itself.
    document.addEventListener("click", (event) => {
      const link = event.target.closest("a[data-ui]");
      if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      const own = outside.createElement("a");
      own.href = link.href;
      outside.body.append(own);
      own.click();
      own.remove();
    });
  }

  const utc = (value) => (value.length === 16 ? `${value}:00Z` : `${value}Z`);

  for (const button of document.querySelectorAll("button[data-deed]")) {
    const { mirror, deed } = button.dataset;
    const dialog = [...document.querySelectorAll("dialog")].find(
      (one) => one.dataset.mirror === mirror && one.dataset.deed === deed,
    );
    const form = dialog.querySelector("form");
    const said = dialog.querySelector(".said");
    const submit = form.querySelector("button[type=submit]");
    button.addEventListener("click", () => {
      form.reset();
      said.textContent = "";
      submit.hidden = false;
      dialog.showModal();
    });
    dialog.querySelector("[data-close]").addEventListener("click", () => dialog.close());
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const given = new FormData(form);
      const body = { mirror, deed, tables: given.getAll("tables") };
      if (deed === "again") Object.assign(body, { inicio: utc(given.get("inicio")), fim: utc(given.get("fim")) });
      submit.disabled = true;
      said.className = "said";
      said.textContent = "Asking Airflow…";
      try {
        const answer = await fetch("runs", {
          method: "POST",
          headers: { "Content-Type": "application/json" },
          body: JSON.stringify(body),
        });
        const content = await answer.json();
        if (answer.ok) {
          const link = document.createElement("a");
          link.href = content.link;
          link.dataset.ui = "";
          link.textContent = content.run_id;
          said.replaceChildren(`Started ${content.dag_id}: `, link);
          submit.hidden = true;
          dialog.querySelector("[data-close]").textContent = "Close";
        } else {
          said.classList.add("bad");
          said.textContent = typeof content.detail === "string" ? content.detail : `Airflow answered ${answer.status}`;
        }
      } catch (error) {
        said.classList.add("bad");
        said.textContent = `No answer: ${error.message}`;
      } finally {
        submit.disabled = false;
      }
    });
  }
})();
