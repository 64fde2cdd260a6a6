// What the pages do by themselves: go on with a search, sort the rows of the page, count what is
// ticked, show how far a job is.
(function () {
    "use strict";

    var table = document.getElementById("rows");

    function cellText(row, index) { return row.cells[index].textContent.trim(); }

    function columnOf(name) {
        var found = table.querySelector('th[data-column="' + name + '"]');
        return found ? found.cellIndex : -1;
    }

    function sortRows() {
        var wanted = table.dataset.sort, name = wanted.replace(/^-/, ""), index = columnOf(name);
        if (!wanted || index < 0) { return; }
        var body = table.tBodies[0], sign = wanted[0] === "-" ? -1 : 1;
        Array.from(body.rows).sort(function (one, other) {
            return sign * cellText(one, index).localeCompare(cellText(other, index), "en", {numeric: true});
        }).forEach(function (row) { body.appendChild(row); });
        table.querySelectorAll("th[data-column]").forEach(function (head) {
            var mine = head.dataset.column === name;
            head.setAttribute("aria-sort", mine ? (sign > 0 ? "ascending" : "descending") : "none");
            head.textContent = head.textContent.replace(/ [↑↓]$/, "") + (mine ? (sign > 0 ? " ↑" : " ↓") : "");
        });
    }

    function keepInLinks(sort) {
        var here = new URL(window.location);
        here.searchParams.set("sort", sort);
        window.history.replaceState(null, "", here);
        document.querySelectorAll(".signal-footer a, .signal-reasons a, th a").forEach(function (link) {
            var there = new URL(link.href);
            there.searchParams.set("sort", sort);
            link.href = there;
        });
    }

    function sortOnClick() {
        table.querySelectorAll("th[data-column]").forEach(function (head) {
            head.tabIndex = 0;
            head.addEventListener("click", function () {
                var name = head.dataset.column;
                table.dataset.sort = table.dataset.sort === name ? "-" + name : name;
                sortRows();
                keepInLinks(table.dataset.sort);
            });
            head.addEventListener("keydown", function (event) { if (event.key === "Enter") { head.click(); } });
        });
    }

    // A step of a search is bounded. This goes on until the page is full or the search at its end.
    async function searchOn() {
        var progress = document.getElementById("progress");
        while (progress && progress.dataset.next && table.tBodies[0].rows.length < Number(table.dataset.size)) {
            var answer = await fetch(progress.dataset.next);
            if (!answer.ok) { return; }
            var page = new DOMParser().parseFromString(await answer.text(), "text/html");
            page.querySelectorAll("#rows tbody tr").forEach(function (row) {
                table.tBodies[0].appendChild(document.adoptNode(row));
            });
            page.querySelectorAll(".empty-table-message").forEach(function (line) {
                if (!table.tBodies[0].rows.length) { table.parentNode.after(document.adoptNode(line)); }
            });
            var footer = document.querySelector(".signal-footer");
            footer.replaceWith(document.adoptNode(page.querySelector(".signal-footer")));
            progress = document.getElementById("progress");
            sortRows();
        }
    }

    function ticks() { return Array.from(table.querySelectorAll('input[name="key"]')); }

    function showTicked() {
        var number = ticks().filter(function (each) { return each.checked; }).length;
        document.getElementById("ticked").textContent = number ? number + " ticked" : "";
        document.querySelectorAll('#act button[value$="-ticked"]').forEach(function (button) {
            button.disabled = !number;
        });
    }

    function countTicked() {
        var all = document.getElementById("tick-all");
        all.addEventListener("change", function () {
            ticks().forEach(function (each) { each.checked = all.checked; });
            showTicked();
        });
        table.addEventListener("change", showTicked);
        window.addEventListener("pageshow", showTicked);
        showTicked();
    }

    async function watch(job) {
        while (true) {
            await new Promise(function (done) { setTimeout(done, 400); });
            var answer = await fetch(job.dataset.progress);
            if (!answer.ok) { return; }
            var now = await answer.json();
            if (now.state !== job.dataset.state) { window.location.reload(); return; }
            var bar = document.getElementById("bar");
            bar.max = Math.max(now.max, 1);
            bar.value = now.value;
            document.getElementById("figures").textContent = now.state === "counting"
                ? now.value.toLocaleString("en") + " of " + now.max.toLocaleString("en") + " read, " + now.found.toLocaleString("en") + " found"
                : now.done.toLocaleString("en") + " of " + now.max.toLocaleString("en") + " done";
        }
    }

    var job = document.getElementById("job");
    if (job && job.dataset.progress) { watch(job); }

    if (table && document.getElementById("act")) { countTicked(); }
    if (table) {
        sortRows();
        sortOnClick();
        searchOn();
    }
}());
