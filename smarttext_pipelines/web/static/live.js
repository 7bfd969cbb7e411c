// Keeps an open page up to date: one socket, whose messages are the page's main part anew, or that it is stale.
const main = document.querySelector("#main");
const said = document.querySelector("#connection");
const address = document.body.dataset.live;
let pause = 500;
let lost = null;
let last = Date.now();
let socket = null;

function say(text) {
  if (said.textContent !== text) said.textContent = text;
}

function busy() {
  // What somebody is typing or has opened stays as it is.
  const at = document.activeElement;
  return at && main.contains(at) && ["INPUT", "SELECT"].includes(at.tagName);
}

function show(html) {
  const open = [...main.querySelectorAll("details[open] > summary")].map((each) => each.textContent);
  const before = new Map([...main.querySelectorAll("[data-figure]")].map((each) => [each.dataset.figure, each.textContent]));
  window.Idiomorph.morph(main, html, { morphStyle: "innerHTML" });
  for (const each of main.querySelectorAll("details > summary")) each.parentNode.open = open.includes(each.textContent);
  for (const each of main.querySelectorAll("[data-figure]")) {
    each.classList.toggle("changed", before.has(each.dataset.figure) && before.get(each.dataset.figure) !== each.textContent);
  }
}

function connect() {
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  socket = new WebSocket(`${scheme}//${location.host}/live?page=${encodeURIComponent(address)}`);
  socket.onmessage = (event) => {
    last = Date.now();
    pause = 500;
    lost = null;
    const message = JSON.parse(event.data);
    if (message.main && !busy()) show(message.main);
    say(message.away ? `The database cannot be reached since ${message.away}; these numbers are older.` : "");
  };
  socket.onclose = () => {
    lost = lost || new Date();
    say(`Not connected since ${lost.toLocaleTimeString()}; these numbers are older.`);
    setTimeout(connect, pause * (0.5 + Math.random()));
    pause = Math.min(pause * 2, 15000);
  };
}

// A heartbeat comes every 10 seconds; a socket that is silent for 25 is dead, whatever the network says.
setInterval(() => {
  if (socket && socket.readyState === WebSocket.OPEN && Date.now() - last > 25000) socket.close();
}, 5000);

connect();
