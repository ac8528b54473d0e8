// Panels that say so ask for themselves again while the page is looked at.
"use strict";
for (const section of document.querySelectorAll("[data-live]")) {
  const address = new URL(location.href);
  address.searchParams.set("panel", section.id);
  setInterval(async () => {
    if (document.hidden || section.contains(document.activeElement)) return;
    try {
      const answer = await fetch(address, { credentials: "same-origin" });
      if (!answer.ok) return;
      const made = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById(section.id);
      if (made) section.replaceChildren(...made.childNodes);
    } catch {
      // The next time may go better.
    }
  }, Number(section.dataset.live) * 1000);
}
