// The Markdown that model cards are written in: headings, tables, lists, paragraphs. All of it as text, never as HTML.

/** Give the elements of a card. */
export function render(markdown) {
  return markdown.trim().split(/\n{2,}/).map(block);
}

function block(text) {
  const lines = text.split("\n");
  const heading = /^(#{1,3}) (.*)$/.exec(text);
  if (heading) return element(`h${heading[1].length + 2}`, heading[2]); // below the page's own headings
  if (lines[0].startsWith("|")) return table(lines);
  if (lines[0].startsWith("- ")) {
    const list = element("ul");
    list.append(...lines.map((line) => element("li", line.slice(2))));
    return list;
  }
  return element("p", text);
}

/** Rows of a name and a value; the head of the card's tables is empty. */
function table(lines) {
  const made = element("table");
  for (const line of lines.slice(2)) {
    const [name, ...values] = line.slice(1, -1).split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));
    const row = made.insertRow();
    const head = element("th", name);
    head.scope = "row";
    row.append(head, ...values.map((value) => element("td", value)));
  }
  return made;
}

function element(name, text = "") {
  const made = document.createElement(name);
  made.textContent = text.replaceAll("`", "");
  return made;
}
