# The image that `kubectl shadow install` takes, for who builds with docker, podman or buildah. `npm run image` makes the same
# files without any of them; both are scripts/images. It builds CRIU from Debian's sources, so it needs Debian's mirror and npm's registry.
ARG BASE=docker.io/library/node:22-bookworm-slim

FROM ${BASE} AS build
WORKDIR /src
# Node.js 26 is linked to it, and slim images may lack it.
RUN apt-get update -q && apt-get install -q -y --no-install-recommends libatomic1
# Node.js, and all that is bundled, as package-lock.json pins it.
COPY package.json package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY . .
RUN node_modules/.bin/node scripts/images/main.ts --rootfs /image

# What each container runs as is said by its manifest: all but the agent without root.
FROM scratch
COPY --from=build /image/ /
ENTRYPOINT ["/usr/bin/node"]
