// Work that needs no server: check and pass on files, save texts.
const say = (text, kind) => {
  const box = model("message")
  box.text = ""
  const div = document.createElement("div")
  div.className = `message ${kind}`
  div.textContent = text
  box.text = div.outerHTML
}
const model = name => Bokeh.documents[0].get_model_by_name(name)

const take = file => {
  if (!file || !Bokeh.documents.length) return
  if (file.size > LARGEST) {
    say(`${file.name} has ${(file.size / 1e6).toFixed(1)} MB, expected ${LARGEST / 1e6} MB at the ` +
        "most; cut it to the range that you need, or give it on the command line.", "error")
    return
  }
  const reader = new FileReader()
  reader.onload = () => {
    say(`Reading ${file.name}…`, "busy")
    model("upload").data = {
      name: [file.name],
      content: [reader.result.slice(reader.result.indexOf(",") + 1)],
      medium: [document.getElementById("medium").value],
      time: [Date.now()],
    }
  }
  reader.onerror = () => say(`${file.name} cannot be read by the browser; choose it again.`, "error")
  reader.readAsDataURL(file)
}

const input = document.getElementById("file"), drop = document.getElementById("drop")
input.addEventListener("change", () => { take(input.files[0]); input.value = "" })
drop.addEventListener("keydown", event => { if (event.key === "Enter") input.click() })
for (const name of ["dragenter", "dragover", "dragleave", "drop"])
  window.addEventListener(name, event => {
    if (!event.dataTransfer || ![...event.dataTransfer.types].includes("Files")) return
    event.preventDefault()
    drop.classList.toggle("over", name === "dragenter" || name === "dragover")
    if (name === "drop") take(event.dataTransfer.files[0])
  })

document.addEventListener("blase3d-save", event => {
  const link = document.createElement("a")
  link.href = URL.createObjectURL(new Blob([event.detail.text], {type: "text/plain"}))
  link.download = event.detail.name
  link.click()
  setTimeout(() => URL.revokeObjectURL(link.href), 10000)
})
document.addEventListener("blase3d-star", event => {
  document.getElementById("file-name").textContent = event.detail.name
  document.body.classList.add("with-star")
})
