// What pages do with JavaScript beside htmx. They work without it.
"use strict";
(() => {
	const units = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];

	// The same words as span in parts.go.
	const span = (seconds) => {
		seconds = Math.floor(Math.abs(seconds));
		for (const [i, [size, name]] of units.entries()) {
			const n = Math.floor(seconds / size);
			if (n === 0) continue;
			let text = `${n} ${name}`;
			if (i + 1 < units.length - 1 && n < 10) {
				const rest = Math.floor((seconds % size) / units[i + 1][0]);
				if (rest > 0) text += ` ${rest} ${units[i + 1][1]}`;
			}
			return text;
		}
		return "0 s";
	};

	// Ages and countdowns go by the server's clock: the viewer's may be wrong.
	const ahead = Date.parse(document.querySelector("meta[name=now]").content) - Date.now();
	const at = (element) => Date.parse(element.dateTime);
	// The same words as clock and exact in parts.go: pages are in English, whatever the browser's language.
	const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
	const dated = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
	const older = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
	const whole = new Intl.DateTimeFormat("en-GB", { dateStyle: "full", timeStyle: "long" });

	const put = (element, text) => {
		if (element.textContent !== text) element.textContent = text;
	};
	const tick = () => {
		const now = Date.now() + ahead;
		for (const e of document.querySelectorAll("time[data-age]")) put(e, span((now - at(e)) / 1000));
		for (const e of document.querySelectorAll("time[data-countdown]")) put(e, span(Math.max(0, at(e) - now) / 1000));
	};
	const localize = (root) => {
		const now = new Date(Date.now() + ahead);
		for (const e of root.querySelectorAll("time[data-clock]")) {
			const t = new Date(at(e));
			const format = t.toDateString() === now.toDateString() ? clock : t.getFullYear() === now.getFullYear() ? dated : older;
			put(e, format.format(t));
		}
		for (const e of root.querySelectorAll("time")) e.title = whole.format(at(e));
	};

	// What a person has opened or begun to write stays while the page renews itself.
	const submits = (event) => event.detail.requestConfig?.triggeringEvent?.type === "submit";
	const keep = (event) => {
		const target = event.detail.target;
		const writes = target?.contains?.(document.activeElement) && document.activeElement.matches("input, select, textarea");
		if (!submits(event) && (writes || target?.querySelector?.("details.ask[open]"))) event.detail.shouldSwap = false;
	};

	// After a renewal the focus is on the element of the same id. Where that is gone, it is
	// on what came of the form.
	let focused = null;
	const refocus = (event) => {
		const result = submits(event) && document.querySelector("#live .refused, #live .done");
		if (!result && (focused === null || document.activeElement !== document.body)) return;
		const same = focused && document.getElementById(focused);
		const next = result || same || document.getElementById("main");
		if (result) result.tabIndex = -1;
		next.focus({ preventScroll: !result });
	};

	// What came of a form stays for a while when the page renews itself, where it was: on its
	// card, or else at the top.
	const stays = 15000;
	let results = [];
	const saveResults = (event) => {
		results = [];
		if (submits(event) || event.detail.target?.id !== "live") return;
		for (const e of event.detail.target.querySelectorAll(".done, .refused")) {
			e.shownAt ??= Date.now();
			if (Date.now() - e.shownAt < stays) results.push([e, e.closest("article")?.getAttribute("aria-labelledby")]);
		}
	};
	const restoreResults = () => {
		for (const [e, card] of results) {
			const to = (card && document.getElementById(card)?.closest("article")) || document.getElementById("live");
			if (to && !to.querySelector(".done, .refused")) to.prepend(e);
		}
		results = [];
		for (const e of document.querySelectorAll("#live :is(.done, .refused)")) e.shownAt ??= Date.now();
	};

	// A card that is gone leaves its place, so that no button moves under a hand. The place
	// goes once it is out of sight, or after a minute.
	const keptFor = 60000;
	let places = [];
	const savePlaces = (event) => {
		places = [];
		if (submits(event) || event.detail.target?.id !== "live") return;
		for (const e of event.detail.target.querySelectorAll(".list > article")) {
			const { top, bottom, height } = e.getBoundingClientRect();
			const seen = bottom > 0 && top < innerHeight && !document.hidden;
			places.push({ id: e.getAttribute("aria-labelledby"), name: e.querySelector("h2").textContent, height, seen, since: e.goneSince ?? Date.now() });
		}
	};
	const restorePlaces = () => {
		const list = document.querySelector("#live .list");
		let before = null;
		for (const { id, name, height, seen, since } of places) {
			const card = document.getElementById(id)?.closest("article");
			if (card || !list || !seen || Date.now() - since > keptFor) {
				before = card ?? before;
				continue;
			}
			const place = document.createElement("article");
			place.className = "item gone";
			place.setAttribute("aria-labelledby", id);
			place.goneSince = since;
			place.style.minHeight = `${height}px`;
			place.append(Object.assign(document.createElement("h2"), { className: "h3", id, textContent: name }));
			place.append(Object.assign(document.createElement("p"), { className: "why", textContent: "It no longer waits here." }));
			if (before) before.after(place);
			else list.prepend(place);
			before = place;
		}
		places = [];
	};

	const offline = (lost) => {
		const note = document.getElementById("offline");
		if (note) note.hidden = !lost;
	};

	// The server shows days in the time zone of this cookie. The first time, it didn't know.
	const zone = new Intl.DateTimeFormat().resolvedOptions().timeZone;
	const sendZone = () => {
		if (!zone) return;
		document.cookie = `gantry_zone=${encodeURIComponent(zone)};path=/;max-age=31536000;samesite=lax`;
		const shown = document.querySelector("[data-zone]");
		if (!shown || "asked" in shown.dataset || shown.dataset.zone === zone || sessionStorage.getItem("zone") === zone) return;
		sessionStorage.setItem("zone", zone); // once: the server may not know this zone
		location.reload();
	};

	document.addEventListener("DOMContentLoaded", () => {
		sendZone();
		localize(document);
		tick();
		setInterval(tick, 1000);
	});
	document.addEventListener("htmx:beforeSwap", (event) => {
		const inside = event.detail.target?.contains?.(document.activeElement);
		focused = inside ? document.activeElement.id : null;
		saveResults(event);
		savePlaces(event);
		keep(event);
	});
	document.addEventListener("htmx:afterSwap", (event) => {
		localize(document);
		tick();
		const title = event.detail.target?.querySelector?.("[data-title]")?.dataset.title;
		if (title) document.title = title;
		restorePlaces();
		restoreResults();
		refocus(event);
	});
	document.addEventListener("htmx:sseError", () => offline(true));
	document.addEventListener("htmx:sseOpen", () => offline(false));
	document.addEventListener("htmx:sendError", () => offline(true));
	document.addEventListener("htmx:afterRequest", (event) => {
		if (event.detail.successful) offline(false);
	});

	// A menu closes when something else is used.
	document.addEventListener("click", (event) => {
		for (const menu of document.querySelectorAll("details.me[open]")) if (!menu.contains(event.target)) menu.open = false;
	});
	document.addEventListener("keydown", (event) => {
		if (event.key !== "Escape") return;
		for (const open of document.querySelectorAll("details.me[open], details.ask[open]")) {
			open.open = false;
			open.querySelector("summary").focus();
		}
	});
})();
