// Builds elements. Text only ever becomes text: nothing here parses HTML.

/** An element with properties, `data`/`aria` attributes and children (nodes or text). */
export function el(tag, properties = {}, ...children) {
  const node = document.createElement(tag)
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value)
    else if (name === "class") node.className = value
    else if (name.includes("-")) node.setAttribute(name, String(value))
    else node[name] = value
  }
  node.append(...children.filter(child => child !== undefined && child !== null && child !== false))
  return node
}

export const byId = id => document.getElementById(id)

export function show(node, visible) {
  node.hidden = !visible
}

/** A round sign for a person or a group. */
export function avatar(name, online = false) {
  const sign = el("span", { class: `avatar hue-${hueOf(name)}${online ? " online" : ""}`, "aria-hidden": true })
  sign.textContent = [...name.trim()][0]?.toUpperCase() ?? "?"
  return sign
}

function hueOf(name) {
  let sum = 0
  for (const letter of name) sum = (sum * 31 + letter.codePointAt(0)) % 6
  return sum
}
