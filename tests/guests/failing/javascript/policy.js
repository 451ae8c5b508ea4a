// Fails in the way that the user agent names.

import request from "doorward:policy/request@0.1.1";

export const settings = { schema: () => "", configure() {} };

export const device = {
  classify() {
    switch (request.header("user-agent")) {
      case "throws": throw new Error("no such tenant");
      case "trips": return undefined.name;
      case "number": return 17;
      case "word": return "phone";
      case "prints": console.log("a line", { of: 2 });
    }
    return "tablet";
  },
};
