// From the start of the process to a whole answer, each time with a fresh state; every other time in reverse order.
import { Server } from './workerd.mjs';

async function startUp(worker, upstream, folder) {
  worker.files(folder);
  const server = await Server.start(folder, worker.config(upstream));
  try {
    const targets = worker.targets(server.urls.http);
    const { url, body, headers } = targets.plain ?? targets.warm;
    const response = await fetch(url, { method: 'POST', body: JSON.stringify(body), headers });
    await response.text();
    const took = performance.now() - server.began;
    if (!response.ok) throw new Error(`${worker.label}: the first answer was ${response.status}`);
    return { start: took, memory_start: server.memory() };
  } finally {
    await server.stop();
  }
}

/** The numbers of each time, by Worker. */
export async function measureStarts(workers, upstream, { starts }, { folderFor }) {
  const found = [];
  // Once for nothing: the first start of all reads the runtime from the disk.
  for (let number = 0; number <= starts; number += 1) {
    const round = {};
    for (const worker of number % 2 ? workers : workers.toReversed()) {
      round[worker.name] = await startUp(worker, upstream, folderFor(`start-${worker.name}-${number}`));
    }
    if (number > 0) found.push(round);
  }
  return found;
}
