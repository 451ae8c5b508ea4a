// Live parts: where a list says where its events come from, the newest are put on top as they happen.
const list = document.querySelector('[data-live]');
if (list && 'EventSource' in window) {
  const most = 200;
  const state = document.querySelector('[data-live-state]');
  const button = document.querySelector('[data-live-button]');
  let source = null;
  let lost = 0;
  const tell = (text) => { state.textContent = lost > 0 ? `${text} · ${lost} not shown: more happened than can be read` : text; };
  const stop = (text) => { source?.close(); source = null; button.textContent = 'Go on'; tell(text); };
  const start = () => {
    source = new EventSource(list.dataset.live);
    button.textContent = 'Stop';
    source.onopen = () => tell('live');
    source.onerror = () => { if (source?.readyState === EventSource.CLOSED) stop('ended'); else tell('connection lost, trying again'); };
    source.addEventListener('lost', (event) => { lost += Number(event.data); tell('live'); });
    source.addEventListener('more', (event) => {
      list.insertAdjacentHTML('afterbegin', event.data);
      list.parentElement.querySelector('[data-live-nothing]')?.remove();
      while (list.children.length > most) list.lastElementChild.remove();
    });
  };
  button.hidden = false;
  button.addEventListener('click', () => { if (source) stop('stopped'); else start(); });
  // Who reads something is not to lose it.
  list.addEventListener('focusin', () => { if (source) stop('stopped, since you read'); });
  addEventListener('pagehide', () => source?.close());
  start();
}
