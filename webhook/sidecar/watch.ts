/** Waiting for what events bring about: looks whenever something was done, never by the clock. */
export class Watch {
  private readonly looks = new Set<() => void>();

  /** Something was done. */
  changed(): void {
    if (this.looks.size > 0) for (const look of [...this.looks]) look();
  }

  /** Resolves when it holds. Rejects when time is over or `failed` says why. */
  until(holds: () => boolean, timeoutMs?: number, failed: () => string | undefined = () => undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      let timer: NodeJS.Timeout | undefined;
      const end = (act: () => void): void => {
        this.looks.delete(look);
        clearTimeout(timer);
        act();
      };
      const look = (): void => {
        const why = failed();
        if (why !== undefined) end(() => reject(new Error(why)));
        else if (holds()) end(resolve);
      };
      this.looks.add(look);
      if (timeoutMs !== undefined)
        timer = setTimeout(() => end(() => reject(new Error(`not within ${timeoutMs} ms`))), timeoutMs);
      look();
    });
  }
}
