// What JavaScript adds: keys, copy buttons, times that stay true, and words when a request fails. Every page works without.
(() => {
  "use strict";

  const root = document.documentElement;
  const find = (selector, within = document) => within.querySelector(selector);
  root.dataset.script = "";

  const setting = {
    // Storage may be forbidden; the page then simply forgets.
    read(name) { try { return localStorage.getItem(name); } catch { return null; } },
    write(name, value) { try { localStorage.setItem(name, value); } catch { /* forgets */ } },
  };

  const announce = (text) => { find("#announcer").textContent = text; };

  // ---- Theme: the cookie is what the server reads, so that no page flashes.

  function useTheme(theme) {
    const secure = location.protocol === "https:" ? "; Secure" : "";
    document.cookie = `theme=${theme}; Path=/; Max-Age=31536000; SameSite=Lax${secure}`;
    root.dataset.theme = theme;
    for (const button of document.querySelectorAll("[data-theme-form] button")) {
      button.setAttribute("aria-pressed", String(button.value === theme));
    }
  }

  function switchTheme() {
    const isDark = root.dataset.theme === "auto" ? matchMedia("(prefers-color-scheme: dark)").matches : root.dataset.theme === "dark";
    useTheme(isDark ? "light" : "dark");
    announce(isDark ? "Light theme" : "Dark theme");
  }

  document.addEventListener("submit", (event) => {
    if (event.target.matches("[data-theme-form]")) {
      event.preventDefault();
      useTheme(event.submitter.value);
    } else if (event.target.matches("#filters")) {
      // The address names only what was asked for.
      for (const field of event.target.elements) if (field.name && !field.value) field.disabled = true;
      setTimeout(() => { for (const field of event.target.elements) field.disabled = false; });
    }
  }, true);

  // ---- Times

  const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
  const steps = [["year", 31557600], ["month", 2629800], ["day", 86400], ["hour", 3600], ["minute", 60]];

  function refreshTimes() {
    for (const element of document.querySelectorAll("time[data-relative]")) {
      const seconds = (Date.parse(element.dateTime) - Date.now()) / 1000;
      const [unit, length] = steps.find(([, length]) => Math.abs(seconds) >= length) ?? [];
      if (!Number.isNaN(seconds)) element.textContent = unit ? relative.format(Math.trunc(seconds / length), unit) : "just now";
    }
  }

  setInterval(refreshTimes, 30000);

  // ---- The time machine: what an instant is on this browser's own clock, and where its form and its way back lead.

  const ownZone = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "short" });
  const inOwnZone = (text) => {
    const instant = new Date(text);
    return Number.isNaN(instant.getTime()) || !instant.getTimezoneOffset() ? "" : `${ownZone.format(instant)} on your clock`;
  };

  function showOwnZone() {
    for (const element of document.querySelectorAll("time[data-local]")) {
      const localTime = inOwnZone(element.dateTime);
      if (localTime) element.title = localTime;
    }
    for (const hint of document.querySelectorAll("[data-local-of]")) {
      const value = document.getElementById(hint.dataset.localOf)?.value;
      hint.textContent = value ? inOwnZone(/(z|[+-]\d\d:?\d\d)$/i.test(value) ? value : `${value}Z`) : "";
      hint.hidden = !hint.textContent;
    }
  }

  // The list changes its address without a new page; what stands in the frame of the page follows.
  function syncTimePicker() {
    const address = new URL(location.href);
    for (const field of document.querySelectorAll(".time-picker-menu [data-return-url]")) field.value = address.pathname + address.search;
    for (const name of ["as_of", "known_at", "cursor"]) address.searchParams.delete(name);
    for (const link of document.querySelectorAll("[data-now]")) link.href = address.pathname + address.search;
  }

  function openTimePicker() {
    const menu = find(".time-picker-menu");
    if (!menu) return;
    menu.open = true;
    find("[data-instant-input]", menu).focus();
  }

  document.addEventListener("input", (event) => { if (event.target.matches("[data-instant-input]")) showOwnZone(); });
  showOwnZone();

  // ---- Copy: always the text as it was written, with everything invisible in it.

  async function copy(button) {
    const label = button.getAttribute("aria-label");
    try {
      await navigator.clipboard.writeText(await textOf(button));
      find("use", button)?.setAttribute("href", button.dataset.done);
      announce("Copied");
    } catch {
      button.setAttribute("aria-label", "Could not copy");
      announce("Could not copy");
    }
    setTimeout(() => {
      find("use", button)?.setAttribute("href", button.dataset.idle);
      button.setAttribute("aria-label", label);
    }, 1600);
  }

  async function textOf(button) {
    if (!button.dataset.copyFrom) return button.dataset.copy;
    const response = await fetch(button.dataset.copyFrom, { headers: { Accept: "application/json" } });
    if (!response.ok) throw new Error(String(response.status));
    return (await response.json()).content;
  }

  // ---- Help

  const help = find("dialog#help");
  const keysAreOn = () => setting.read("shortcuts") !== "off";

  const openHelp = () => help.showModal();
  const keysSwitch = find("#shortcuts");
  if (keysSwitch) keysSwitch.checked = keysAreOn();

  document.addEventListener("change", (event) => {
    if (event.target.id === "shortcuts") setting.write("shortcuts", event.target.checked ? "on" : "off");
  });

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy], [data-copy-from]");
    if (button) copy(button);
    if (help && !event.ctrlKey && !event.metaKey && event.target.closest("[data-help]")) {
      event.preventDefault();
      openHelp();
    }
    if (event.target === help || event.target.closest("[data-close]")) event.target.closest("dialog, [role=alert]").close?.();
    if (event.target.closest("[data-dismiss]")) banner.hidden = true;
    for (const menu of document.querySelectorAll("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
  });

  // ---- Keys

  function move(step) {
    const rows = [...document.querySelectorAll(".row__link")];
    const index = rows.indexOf(document.activeElement?.closest(".row") && find(".row__link", document.activeElement.closest(".row")));
    const next = rows[Math.min(Math.max(index + step, 0), rows.length - 1)];
    next?.focus();
    next?.scrollIntoView({ block: "nearest" });
  }

  function moveBar(bar, step) {
    const bars = [...bar.parentNode.querySelectorAll("a")];
    bars[bars.indexOf(bar) + step]?.focus();
  }

  const keys = {
    "/": () => { find("#q")?.focus(); find("#q")?.select(); },
    j: () => move(1),
    k: () => move(-1),
    n: () => find("#older")?.click(),
    p: () => find("#newest")?.click(),
    "[": () => find("[data-earlier]")?.click(),
    "]": () => find("[data-later]")?.click(),
    ",": () => find("[data-previous]")?.click(),
    ".": () => find("[data-next]")?.click(),
    b: () => find("[data-now]")?.click(),
    w: openTimePicker,
    t: switchTheme,
    u: () => find("[data-up]")?.click(),
    "?": () => help && openHelp(),
  };

  // A page may give keys to what is on it, in place of those above.
  const findKeyTarget = (key) => find(`[data-press="${CSS.escape(key)}"]`);

  function press(element) {
    if (element.matches("[type=radio]")) return choose(element);
    if (element.matches("a, button")) return element.click();
    element.focus();
    element.select();
  }

  // A choice waits for its reason: the last one is offered, and Enter takes it.
  function choose(radio) {
    radio.checked = true;
    showChoice(radio);
    announce(radio.dataset.label);
    if (radio.dataset.opens) return document.getElementById(radio.dataset.opens).focus();
    const reason = find("#reason");
    if (reason.value.trim()) return radio.form.requestSubmit();
    reason.value = reason.dataset.last;
    press(reason);
  }

  // Many values may stand between the one that is chosen and the reason for it.
  function showChoice(radio) {
    find("#chosen").textContent = radio.dataset.label;
  }

  document.addEventListener("change", (event) => { if (event.target.matches("[data-label]")) showChoice(event.target); });
  if (find("[data-label]:checked")) showChoice(find("[data-label]:checked"));

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const { activeElement } = document;
    if (event.key === "Escape") return escape(activeElement);
    const bar = activeElement?.closest(".timeline svg a");
    if (bar && event.key.startsWith("Arrow")) return moveBar(bar, event.key === "ArrowRight" || event.key === "ArrowDown" ? 1 : -1);
    if (activeElement?.closest("[data-stepper]") && (event.key === "ArrowLeft" || event.key === "ArrowRight")) {
      return find(event.key === "ArrowLeft" ? "[data-previous]" : "[data-next]")?.click();
    }
    const isTyping = activeElement?.matches("input:not([type=checkbox], [type=radio]), select, textarea, [contenteditable]");
    if (isTyping || help?.open || !keysAreOn()) return;
    const element = findKeyTarget(event.key);
    if (!element && !Object.hasOwn(keys, event.key)) return;
    event.preventDefault();
    if (element) press(element);
    else keys[event.key]();
  });

  function escape(element) {
    const open = element?.closest("details.menu[open], details.filters[open]");
    if (open) {
      open.open = false;
      find("summary", open).focus();
    } else if (!help?.open) {
      element?.blur();
    }
  }

  // ---- htmx: keep the focus, say what came, and say what failed

  const banner = find("#banner");
  let focusedKey = null;

  function showFailure(event, message) {
    const path = event.detail.pathInfo?.finalRequestPath ?? event.detail.requestConfig?.path;
    find("[data-banner-text]", banner).textContent = message;
    find("[data-banner-link]", banner).href = path ?? location.href;
    banner.hidden = false;
  }

  const on = (name, handle) => document.addEventListener(`htmx:${name}`, handle);
  on("beforeRequest", () => { banner.hidden = true; });
  on("beforeSwap", () => { focusedKey = document.activeElement?.dataset.key ?? document.activeElement?.id ?? null; });
  on("pushedIntoHistory", syncTimePicker);
  on("afterSwap", () => {
    refreshTimes();
    showOwnZone();
    announce(find("#results-summary")?.textContent.trim() ?? "");
    if (focusedKey === null || document.activeElement !== document.body) return;
    const target = find(`[data-key="${CSS.escape(focusedKey)}"]`) ?? document.getElementById(focusedKey) ?? find("#results-title");
    target?.focus({ preventScroll: true });
  });
  on("responseError", (event) => showFailure(event, `The server answered ${event.detail.xhr.status}, so this page shows what it showed before.`));
  on("sendError", (event) => showFailure(event, "The server cannot be reached, so this page shows what it showed before."));
  on("timeout", (event) => showFailure(event, "The server took too long, so this page shows what it showed before."));
  on("swapError", (event) => showFailure(event, "The answer could not be shown."));
})();
