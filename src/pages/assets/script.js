// What pages gain with a script; every page works without it.
'use strict';

// A button that copies the code beside it.
for (const box of document.querySelectorAll('.code')) {
  const button = document.createElement('button');
  button.type = 'button';
  button.className = 'quiet copy';
  button.textContent = 'Copy';
  button.setAttribute('aria-live', 'polite');
  button.addEventListener('click', async () => {
    try {
      await navigator.clipboard.writeText(box.querySelector('code').textContent);
      button.textContent = 'Copied';
    } catch {
      getSelection().selectAllChildren(box.querySelector('code'));
      button.textContent = 'Selected';
    }
    setTimeout(() => { button.textContent = 'Copy'; }, 2000);
  });
  box.append(button);
}

// The filter of the models: choices are sent at once, words hide cards while they are typed.
const form = document.querySelector('[data-filter]');
if (form) {
  form.addEventListener('change', (event) => {
    if (event.target.name !== 'q') form.requestSubmit();
  });
  // An empty field says nothing, so it stays out of the address.
  form.addEventListener('formdata', (event) => {
    for (const [name, value] of [...event.formData]) if (value === '' || (name === 'sort' && value === 'name')) event.formData.delete(name);
  });
  const cards = [...document.querySelectorAll('[data-search]')];
  const count = document.querySelector('[data-count]');
  const nothing = document.querySelector('[data-nothing]');
  const before = count.textContent;
  const search = form.elements.q;
  const asked = search.value.trim();
  let waiting;
  const say = (shown) => {
    count.textContent = shown === cards.length && search.value.trim() === asked ? before : `${shown} of ${cards.length} shown`;
  };
  search.addEventListener('input', () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const card of cards) {
      card.hidden = !words.every((word) => card.dataset.search.includes(word));
      if (!card.hidden) shown += 1;
    }
    if (nothing) nothing.hidden = shown > 0;
    clearTimeout(waiting);
    waiting = setTimeout(say, 300, shown);
  });
}
