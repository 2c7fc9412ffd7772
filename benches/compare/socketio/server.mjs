// socket.io with the events that `quikapp bench --protocol socketio` uses. Prints its address.
import { createServer } from "node:http"
import { Server } from "socket.io"

const http = createServer()
const io = new Server(http, { transports: ["websocket"], perMessageDeflate: false, serveClient: false })
io.on("connection", socket => {
  socket.on("join", (room, answer) => {
    socket.join(room)
    answer?.({})
  })
  socket.on("tick", (room, content, answer) => {
    io.to(room).emit("tick", content)
    answer?.({})
  })
})
http.listen({ host: "127.0.0.1", port: Number(process.argv[2] ?? 0), backlog: 4096 }, () => {
  console.log(`listening on http://127.0.0.1:${http.address().port}`)
})
