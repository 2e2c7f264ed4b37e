// Stands for `cloudflare:workers`.
class Base {
  constructor(ctx, env) {
    this.ctx = ctx;
    this.env = env;
  }
}

export { Base as DurableObject, Base as WorkerEntrypoint };
